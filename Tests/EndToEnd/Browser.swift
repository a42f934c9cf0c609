// A real browser, driven as WebDriver says: Debian's Chromium by its own driver.
import Foundation
import HTTP
import JSON
import Models
import TestSupport

@testable import StampedeCore

/// The driver, and the windows that it opened: each a browser with a profile of its own, as another device has.
struct Browser: Sendable {
    static let driver = "/usr/bin/chromedriver"

    private let client: HTTPClient
    private let baseURL: String

    /// Starts the driver, and ends it with all its windows whatever happens, the end of this process included.
    static func with(_ stack: Stack, _ body: (Browser) async throws -> Void) async throws {
        let port = try FreePorts.take()
        let log = "\(stack.folder)/log/chromedriver.log"
        _ = FileManager.default.createFile(atPath: log, contents: nil)
        guard let output = FileHandle(forWritingAtPath: log) else { throw Failure("\(log) cannot be opened") }
        // Chromium keeps its profile, and what it calls its home, there.
        let home = "\(stack.folder)/browser"
        try FileManager.default.createDirectory(atPath: home, withIntermediateDirectories: true)
        // Its windows outlive a driver that is ended. They have its home, which nobody else has.
        let keeper = """
            '\(driver)' --port=\(port) --log-level=SEVERE &
            cat >/dev/null
            for file in /proc/[0-9]*/environ; do
                pid=${file#/proc/} pid=${pid%/environ}
                [[ $pid == $$ ]] || ! grep --quiet --null-data --fixed-strings --line-regexp "HOME=$HOME" "$file" ||
                    kill -KILL "$pid"
            done 2>/dev/null
            wait
            """
        let pipe = Pipe()
        _ = fcntl(pipe.fileHandleForWriting.fileDescriptor, F_SETFD, FD_CLOEXEC)
        let program = try ChildProgram(
            "/bin/bash", ["-c", keeper],
            environment: ["PATH": "/usr/bin:/bin", "HOME": home, "TMPDIR": home, "LANG": "C.UTF-8"], output: output,
            input: pipe.fileHandleForReading)
        try pipe.fileHandleForReading.close()
        let browser = Browser(client: try HTTPClient(), baseURL: "http://127.0.0.1:\(port)")
        do {
            try await stack.eventually { (try? await browser.command(.get, "/status")) != nil }
            try await body(browser)
        } catch {
            try pipe.fileHandleForWriting.close()
            _ = await program.wait()
            throw error
        }
        try pipe.fileHandleForWriting.close()
        _ = await program.wait()
    }

    struct Failure: Error, CustomStringConvertible {
        let description: String
        init(_ description: String) { self.description = description }
    }

    fileprivate func command(_ method: HTTPMethod, _ path: String, _ body: [UInt8] = []) async throws -> DocumentTree {
        let answer = try await client.send(
            ClientRequest(
                method, baseURL + path, headers: [("Content-Type", "application/json")], body: body, timeoutSeconds: 60,
                responseBytesMax: 32 << 20))
        let value = try DocumentTree(json: answer.body)["value"] ?? .null
        guard answer.status == 200 else {
            throw Failure("\(path): \(value["error"]?.string ?? ""): \(value["message"]?.string?.prefix(500) ?? "")")
        }
        return value
    }

    /// - Parameters:
    ///   - width: of the page, in CSS pixels; a phone's where it is small.
    func window(
        _ origin: String, width: Int = 390, height: Int = 844, isDark: Bool = false, language: String = "en-US"
    ) async throws -> Window {
        let arguments = [
            "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
            "--force-device-scale-factor=1",
            "--accept-lang=\(language)",
        ]
        let session = try await command(
            .post, "/session",
            JSONWriter.object {
                $0.name("capabilities")
                $0.object {
                    $0.name("alwaysMatch")
                    $0.object {
                        $0.field("browserName", "chrome")
                        $0.name("goog:loggingPrefs")
                        $0.object { $0.field("browser", "ALL") }
                        $0.name("goog:chromeOptions")
                        $0.object {
                            $0.field("binary", "/usr/bin/chromium")
                            $0.field("args", arguments)
                        }
                    }
                }
            })
        guard let id = session["sessionId"]?.string else { throw Failure("the driver opened no window") }
        let window = Window(browser: self, id: id, origin: origin)
        try await window.resize(width: width, height: height)
        try await window.protocolCommand("Emulation.setEmulatedMedia") {
            $0.name("features")
            $0.array {
                $0.object {
                    $0.field("name", "prefers-color-scheme")
                    $0.field("value", isDark ? "dark" : "light")
                }
            }
        }
        return window
    }
}

/// A browser's window with one page.
struct Window: Sendable {
    fileprivate let browser: Browser
    fileprivate let id: String
    let origin: String

    @discardableResult
    private func command(_ method: HTTPMethod, _ path: String, _ body: [UInt8] = []) async throws -> DocumentTree {
        try await browser.command(method, "/session/\(id)\(path)", body)
    }

    /// A command of Chromium's own.
    func protocolCommand(_ name: String, _ parameters: (inout JSONWriter) -> Void = { _ in }) async throws {
        var parts = JSONWriter()
        parts.object {
            $0.field("cmd", name)
            $0.name("params")
            $0.object(parameters)
        }
        try await command(.post, "/goog/cdp/execute", parts.bytes)
    }

    func resize(width: Int, height: Int) async throws {
        try await protocolCommand("Emulation.setDeviceMetricsOverride") {
            $0.field("width", width)
            $0.field("height", height)
            $0.field("deviceScaleFactor", 1)
            $0.field("mobile", width < 600)
        }
        // A phone's are seen while it scrolls.
        try await protocolCommand("Emulation.setScrollbarsHidden") { $0.field("hidden", width < 600) }
    }

    /// Takes the network away, and gives it back.
    func setOffline(_ isOffline: Bool) async throws {
        try await protocolCommand("Network.enable")
        try await protocolCommand("Network.emulateNetworkConditions") {
            $0.field("offline", isOffline)
            $0.field("latency", 0)
            $0.field("downloadThroughput", -1)
            $0.field("uploadThroughput", -1)
        }
    }

    /// - Parameter address: of the app's pages: `chats/ID`.
    func go(_ address: String) async throws {
        try await command(.post, "/url", JSONWriter.object { $0.field("url", "\(origin)/#/\(address)") })
    }

    func reload() async throws { try await command(.post, "/refresh", Array("{}".utf8)) }

    /// Where the app is: `chats/ID`.
    func address() async throws -> String { try await run("return location.hash.slice(2)").string ?? "" }

    /// What a script of the page's answers.
    @discardableResult
    func run(_ script: String, _ argument: String = "") async throws -> DocumentTree {
        try await command(
            .post, "/execute/sync",
            JSONWriter.object {
                $0.field("script", script)
                $0.field("args", [argument])
            })
    }

    /// Waits until an expression of the page's is true.
    func wait(_ expression: String, within time: Duration = .seconds(30)) async throws {
        let deadline = ContinuousClock.now + time
        while try await run("return Boolean(\(expression))") != .boolean(true) {
            guard ContinuousClock.now < deadline else {
                let text = try await run("return location.hash + '\\n' + document.body.innerText").string ?? ""
                throw Browser.Failure("never true: \(expression)\non the page \(text.prefix(1500))")
            }
            try await Task.sleep(for: .milliseconds(50))
        }
    }

    /// Waits until the page says it.
    func read(_ text: String, within time: Duration = .seconds(30)) async throws {
        let quoted = String(decoding: JSONWriter.document(text), as: UTF8.self)
        try await wait("document.body.innerText.includes(\(quoted))", within: time)
    }

    private func element(_ selector: String) async throws -> String {
        try await wait("document.querySelector(`\(selector)`)")
        let found = try await command(
            .post, "/element",
            JSONWriter.object {
                $0.field("using", "css selector")
                $0.field("value", selector)
            })
        guard let element = found.members.values.first?.string else { throw Browser.Failure("no \(selector)") }
        return element
    }

    func click(_ selector: String) async throws {
        try await command(.post, "/element/\(try await element(selector))/click", Array("{}".utf8))
    }

    func type(_ text: String, into selector: String) async throws {
        try await command(
            .post, "/element/\(try await element(selector))/value", JSONWriter.object { $0.field("text", text) })
    }

    /// The page as a picture.
    func picture() async throws -> Data {
        guard let text = try await command(.get, "/screenshot").string, let data = Data(base64Encoded: text) else {
            throw Browser.Failure("no picture")
        }
        return data
    }

    /// What the browser complained of since it was asked last.
    func complaints() async throws -> [String] {
        try await command(.post, "/se/log", JSONWriter.object { $0.field("type", "browser") }).elements
            .filter { $0["level"]?.string == "SEVERE" }.compactMap { $0["message"]?.string }
    }

    func close() async throws { try await command(.delete, "") }
}
