// Bytes that belong to something larger (a batch of consumed records) and are read without being copied.
#if canImport(Glibc)
    import Glibc
#else
    import Foundation
#endif

/// A read-only run of bytes that keeps its owner alive.
///
/// It is cheap to pass on, but holding one byte holds the whole batch it came from: copy (`Array(view)`) what is to be
/// kept.
///
/// `@unchecked Sendable`: the bytes never change while the owner lives, and the owner lives as long as the view does.
public struct ByteView: RandomAccessCollection, @unchecked Sendable {
    @usableFromInline let owner: AnyObject?
    @usableFromInline let bytes: UnsafeRawBufferPointer

    /// `bytes` must stay where they are, unchanged, while `owner` lives.
    init(_ bytes: UnsafeRawBufferPointer, ownedBy owner: AnyObject) {
        self.bytes = bytes
        self.owner = owner
    }

    /// Copies.
    public init(_ array: [UInt8]) {
        let owner = OwnedBytes(array)
        self.owner = owner
        self.bytes = UnsafeRawBufferPointer(owner.buffer)
    }

    @inlinable public var startIndex: Int { 0 }
    @inlinable public var endIndex: Int { bytes.count }
    @inlinable public subscript(index: Int) -> UInt8 { bytes[index] }

    @inlinable
    public func withUnsafeBytes<R, E: Error>(_ body: (UnsafeRawBufferPointer) throws(E) -> R) throws(E) -> R {
        defer { withExtendedLifetime(owner) {} }
        return try body(bytes)
    }

    @inlinable
    public func withContiguousStorageIfAvailable<R>(
        _ body: (UnsafeBufferPointer<UInt8>) throws -> R
    ) rethrows -> R? {
        defer { withExtendedLifetime(owner) {} }
        return try body(bytes.assumingMemoryBound(to: UInt8.self))
    }
}

/// A run of bytes without their owner: nothing is counted when it is passed on. It is valid only inside the call that it was
/// handed to; it must not escape.
public struct ByteRun: RandomAccessCollection {
    @usableFromInline let bytes: UnsafeRawBufferPointer

    init(_ bytes: UnsafeRawBufferPointer) { self.bytes = bytes }

    @inlinable public var startIndex: Int { 0 }
    @inlinable public var endIndex: Int { bytes.count }
    @inlinable public subscript(index: Int) -> UInt8 { bytes[index] }

    @inlinable
    public func withContiguousStorageIfAvailable<R>(
        _ body: (UnsafeBufferPointer<UInt8>) throws -> R
    ) rethrows -> R? {
        try body(bytes.assumingMemoryBound(to: UInt8.self))
    }

    public static func == (run: ByteRun, view: ByteView) -> Bool {
        guard run.count == view.count else { return false }
        guard let left = run.bytes.baseAddress, let right = view.bytes.baseAddress else { return true }
        defer { withExtendedLifetime(view) {} }
        return memcmp(left, right, run.count) == 0
    }
}

extension ByteView: Hashable {
    public static func == (a: ByteView, b: ByteView) -> Bool {
        guard a.count == b.count else { return false }
        guard let left = a.bytes.baseAddress, let right = b.bytes.baseAddress else { return true }
        defer { withExtendedLifetime((a, b)) {} }
        return left == right || memcmp(left, right, a.count) == 0
    }

    public func hash(into hasher: inout Hasher) {
        withUnsafeBytes { hasher.combine(bytes: $0) }
    }
}

extension ByteView: CustomStringConvertible {
    /// The bytes as text; what is not UTF-8 is replaced.
    public var description: String { String(decoding: self, as: UTF8.self) }
}

extension String {
    /// Nil when the bytes are not UTF-8.
    public init?(validating view: ByteView) {
        guard let text = view.withContiguousStorageIfAvailable({ String(validating: $0, as: UTF8.self) }) ?? nil
        else { return nil }
        self = text
    }
}

/// `@unchecked Sendable`: written once, in `init`.
private final class OwnedBytes: @unchecked Sendable {
    let buffer: UnsafeMutableRawBufferPointer

    init(_ array: [UInt8]) {
        buffer = .allocate(byteCount: array.count, alignment: 1)
        buffer.copyBytes(from: array)
    }

    deinit { buffer.deallocate() }
}
