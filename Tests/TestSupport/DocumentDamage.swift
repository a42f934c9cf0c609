// Documents with one thing wrong at a time, for sweeps over routes and readers.

extension DocumentTree {
    package struct Damage: Sendable {
        package let bytes: [UInt8]
        /// The member that is wrong, `batches[0].lines[1].units`; nil where the whole is no document of its kind.
        package let field: String?
    }

    /// This document, an object, damaged in every way: cut off, not JSON, not an object; each member missing or of
    /// another kind; a member too many in each object.
    package var damages: [Damage] {
        var found = [" ", "{", "null", "[]", "1", "\"x\"", "{}", "\u{feff}{}"].map {
            Damage(bytes: Array($0.utf8), field: nil)
        }
        found.append(Damage(bytes: Array(json.dropLast()), field: nil))
        found.append(Damage(bytes: json + [UInt8(ascii: "x")], field: nil))
        found.append(Damage(bytes: [0xff, 0xfe] + json, field: nil))
        let wrong: [DocumentTree] = [
            .string(""), .string("x\0"), .integer(-1), .integer(.max), .boolean(true), .array([.integer(1)]),
            .object([:]), .array(Array(repeating: .object([:]), count: 101)), .number(0.5),
        ]
        for (place, replaced) in places {
            for value in wrong + [nil] { found.append(Damage(bytes: replaced(value).json, field: place)) }
        }
        for (place, extended) in objects {
            let field = place.isEmpty ? "unknownMember" : "\(place).unknownMember"
            found.append(Damage(bytes: extended("unknownMember").json, field: field))
        }
        return found
    }

    /// Every member of every object below, by its path, with a function that puts another value there or takes it away.
    private var places: [(String, (DocumentTree?) -> DocumentTree)] {
        switch self {
        case .object(let members):
            return members.flatMap { name, value -> [(String, (DocumentTree?) -> DocumentTree)] in
                let own: (String, (DocumentTree?) -> DocumentTree) = (
                    name,
                    { new in
                        var copy = members
                        copy[name] = new
                        return .object(copy)
                    }
                )
                return [own]
                    + value.places.map { path, replaced in
                        (
                            path.hasPrefix("[") ? name + path : "\(name).\(path)",
                            { new in
                                var copy = members
                                copy[name] = replaced(new)
                                return .object(copy)
                            }
                        )
                    }
            }
        case .array(let elements):
            return elements.enumerated().flatMap { index, value in
                value.places.map { path, replaced in
                    (
                        "[\(index)].\(path)",
                        { new in
                            var copy = elements
                            copy[index] = replaced(new)
                            return .array(copy)
                        }
                    )
                }
            }
        default: return []
        }
    }

    /// Every object, by its path, with a function that gives it one member more.
    private var objects: [(String, (String) -> DocumentTree)] {
        guard case .object(let members) = self else { return [] }
        let own: (String, (String) -> DocumentTree) = (
            "", { .object(members.merging([$0: .integer(1)]) { old, _ in old }) }
        )
        return [own]
            + places.compactMap { path, replaced in
                guard case .object(let members)? = value(at: path) else { return nil }
                return (path, { replaced(.object(members.merging([$0: .integer(1)]) { old, _ in old })) })
            }
    }

    /// The value at a path such as `batches[0].lines[1].price`.
    private func value(at path: String) -> DocumentTree? {
        path.split(separator: ".").reduce(self as Self?) { tree, part in
            let pieces = part.split(whereSeparator: { "[]".contains($0) })
            guard let name = pieces.first else { return nil }
            return pieces.dropFirst().reduce(tree?[String(name)]) { list, index in
                Int(index).flatMap { index in
                    list.flatMap { $0.elements.indices.contains(index) ? $0.elements[index] : nil }
                }
            }
        }
    }
}
