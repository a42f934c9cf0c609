// The app as people use it: in a browser, against the whole stack.
import Foundation
import HTTP
import JSON
import Models
import TestSupport
import Testing

@testable import StampedeCore

@Suite(.serialized, .timeLimit(.minutes(8)))
struct BrowserTests {
    private static let password = "correct horse battery"

    /// One after the other on one stack and one browser, which take longer to start than each of them.
    @Test func peopleBuyAndTalkInABrowser() async throws {
        try #require(
            FileManager.default.isExecutableFile(atPath: Browser.driver), "Debian's chromium-driver is not installed")
        try await Self.buildSite()
        try await Stack.with(.embedded) { stack in
            try await Browser.with(stack) { browser in
                let shop = try await Shop(stack)
                try await thePageIsServedAsItShouldBe(shop)
                try await aBrandPlansASaleAndABuyerSeesIt(shop, browser)
                try await aPersonSignsUpFollowsOrdersPaysAndSeesItOnASecondDevice(shop, browser)
                try await whatIsSaidIsTextAndALossOfTheNetworkLosesNothing(shop, browser)
                try await formsSayWhatIsWrongBesideTheFieldAndKeepTheRest(shop, browser)
                try await aSessionThatEndsAsksAgainAndGoesOn(shop, browser)
                try await tenThousandMessagesScroll(shop, browser)
                try await everyPageIsForEverybody(shop, browser)
                try await theDemonstrationGoesOn(stack, shop)
            }
        }
    }

    /// As `make build` does; nothing where nothing has changed.
    static func buildSite() async throws {
        let program = try ChildProgram(
            "\(Stack.root)/scripts/web", environment: ["PATH": "/usr/bin:/bin"], output: .standardError)
        try #require(await program.wait() == 0, "the web client was not built")
    }

    /// What `make screenshots` does: the main pages as pictures, on a phone and a desk, light and dark, into a folder.
    @Test(.enabled(if: ProcessInfo.processInfo.environment["SCREENSHOTS"] != nil))
    func thePagesAsPictures() async throws {
        let folder = try #require(ProcessInfo.processInfo.environment["SCREENSHOTS"])
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        try await Self.buildSite()
        try await Stack.with(.embedded) { stack in
            try await Browser.with(stack) { browser in
                let shop = try await Shop(stack)
                try await buy(shop, browser)
                try await shop.announceSale(opensIn: 3600)
                for (device, width, height) in [("phone", 390, 844), ("desk", 1280, 800)] {
                    for isDark in [false, true] {
                        let window = try await browser.window(shop.origin, width: width, height: height, isDark: isDark)
                        func keep(_ name: String) async throws {
                            // Pictures show what is there when all has come.
                            try await Task.sleep(for: .milliseconds(700))
                            let file = "\(folder)/\(name)-\(device)\(isDark ? "-dark" : "").png"
                            try await window.picture().write(to: URL(filePath: file))
                        }
                        try await window.go("")
                        try await window.wait("document.querySelector('[name=handle]')")
                        try await keep("sign-in")
                        try await signIn(window, "alice", Demonstration.password)
                        for (page, sign) in try await shop.pages("alice", Demonstration.password) {
                            try await window.go(page)
                            try await window.wait("document.querySelector(`\(sign)`)")
                            let words = page.split(separator: "/")
                            try await keep(words.count > 1 ? "\(words[0])-one" : page)
                        }
                        try await window.go("brands/\(shop.brand.id)")
                        try await window.click(".post .goods.before")
                        try await window.wait("document.querySelector('.countdown')")
                        try await keep("sale")
                        try await window.close()
                        let brand = try await browser.window(shop.origin, width: width, height: height, isDark: isDark)
                        try await signIn(brand, Demonstration.brand.handle, Demonstration.password)
                        for (page, sign) in try await shop.brandPages() {
                            try await brand.go(page)
                            try await brand.wait("document.querySelector(`\(sign)`)")
                            let word = page.split(separator: "/").last.map { $0.count > 10 ? "sale" : String($0) } ?? ""
                            try await Task.sleep(for: .milliseconds(700))
                            try await brand.picture().write(
                                to: URL(filePath: "\(folder)/console-\(word)-\(device)\(isDark ? "-dark" : "").png"))
                        }
                        try await brand.close()
                    }
                }
            }
        }
    }

    /// Alice buys, by the authorisation that she has given, and talks.
    private func buy(_ shop: Shop, _ browser: Browser) async throws {
        try await shop.announceSale(opensIn: 3)
        let window = try await browser.window(shop.origin)
        try await signIn(window, "alice", Demonstration.password)
        try await window.go("chats")
        try await window.click(".line")
        try await window.type("Will there be a green one?", into: ".composer textarea")
        try await window.click(".composer button")
        try await window.wait("document.querySelector('.message.own:not(.pending)')")
        try await shop.write(to: "alice", password: Demonstration.password, "Yes! Jade green, with 64 GB.")
        try await window.go("brands/\(shop.brand.id)")
        try await window.click(".post .goods")
        try await window.wait("!document.querySelector('.order-form button:disabled')")
        try await window.click(".order-form button")
        try await window.wait("document.querySelector('.sale .is-confirmed')")
        try await window.close()
    }

    private func signUp(_ window: Window, _ name: String, _ handle: String) async throws {
        try await window.go("sign-up")
        try await window.type(name, into: "[name=displayName]")
        try await window.type(handle, into: "[name=handle]")
        try await window.type(Self.password, into: "[name=password]")
        try await window.click("button.primary")
        try await window.wait("document.querySelector('.rooms')")
    }

    private func signIn(_ window: Window, _ handle: String, _ password: String = Self.password) async throws {
        try await window.go("")
        try await window.type(handle, into: "[name=handle]")
        try await window.type(password, into: "[name=password]")
        try await window.click("button.primary")
        try await window.wait("document.querySelector('.rooms')")
    }

    // MARK: What the gateway serves

    private func thePageIsServedAsItShouldBe(_ shop: Shop) async throws {
        let page = try await shop.get("/")
        let text = String(decoding: page.body, as: UTF8.self)
        #expect(page.status == 200 && page.header("Content-Type") == "text/html; charset=utf-8")
        #expect(page.header("Cache-Control") == "no-cache")
        let policy = try #require(page.header("Content-Security-Policy"))
        for part in ["default-src 'none'", "script-src 'self';", "frame-ancestors 'none'", "base-uri 'none'"] {
            #expect(policy.contains(part))
        }
        #expect(!policy.contains("unsafe"))
        #expect(page.header("X-Content-Type-Options") == "nosniff")
        // Nothing inline: every script and style is a file.
        #expect(!text.contains("<style") && !text.contains(" style=") && !text.contains(" onload="))
        #expect(text.matches(of: /<script/).count == text.matches(of: /<script type="module" src="\/assets\//).count)
        let files = text.matches(of: /"(\/assets\/[^"]+)"/).map { String($0.1) }
        #expect(files.count >= 2)
        for file in files {
            let answer = try await shop.get(file, [("Accept-Encoding", "gzip")])
            #expect(answer.status == 200 && answer.header("Content-Encoding") == "gzip", "\(file)")
            #expect(answer.header("Cache-Control") == "public, max-age=31536000, immutable")
            #expect(file.firstMatch(of: /-[A-Z0-9]{8}\.(js|css)$/) != nil, "\(file) is not named by what it holds")
        }
        for path in ["/index.html", "/assets/", "/assets/none.js", "/assets/../index.html", "/v1"] {
            #expect(try await shop.get(path).status == 404, "\(path)")
        }
        // No page of another origin may ask.
        let asked = try await shop.get("/v1/brands", [("Origin", "https://elsewhere.example")])
        #expect(asked.header("Access-Control-Allow-Origin") == nil)
    }

    // MARK: Selling

    private func aBrandPlansASaleAndABuyerSeesIt(_ shop: Shop, _ browser: Browser) async throws {
        let desk = try await browser.window(shop.origin, width: 1280, height: 800)
        try await signIn(desk, Demonstration.brand.handle, Demonstration.password)
        try await desk.go("console/product")
        try await desk.type("Lantern", into: "[name=name-en]")
        try await desk.type("two words", into: "[name=code]")
        try await desk.type("Paper white", into: "[name=variant-en]")
        try await desk.click(".planning .primary")
        try await desk.wait("document.querySelector('[name=code][aria-invalid=true]')")
        try await desk.run("document.querySelector('[name=code]').select()")
        try await desk.type("lantern-white", into: "[name=code]")
        try await desk.click(".planning .primary")
        // It is the newest product, so the plan begins with it.
        try await desk.wait("document.querySelector('.line-plan p')?.textContent === 'Paper white'")
        #expect(try await desk.complaints().allSatisfy { $0.contains("/v1/products") })

        try await desk.type("Lanterns at noon", into: "[name=title-en]")
        try await desk.type("none", into: "[name=units]")
        try await desk.type("-1", into: "[name=price]")
        try await desk.click(".planning .publish")
        try await desk.wait("document.querySelectorAll('.line-plan [aria-invalid=true]').length === 2")
        let kept = "[...document.querySelectorAll('.line-plan input')].map((one) => one.value).join()"
        #expect(try await desk.run("return \(kept)") == .string("none,-1"))
        // What the API alone refuses is said beside the field as well; the draft is kept.
        for (field, text) in [("units", "0"), ("price", "88.50")] {
            try await desk.run("document.querySelector('[name=\(field)]').select()")
            try await desk.type(text, into: "[name=\(field)]")
        }
        try await desk.click(".planning .publish")
        try await desk.wait(
            "[...document.querySelectorAll('[aria-invalid=true]')].map((one) => one.name).join() === 'units'")
        try await desk.run("document.querySelector('[name=units]').select()")
        try await desk.type("12", into: "[name=units]")
        try await desk.click(".planning .publish")
        try await desk.read("It is public.")
        // Supply may rise and not fall.
        try await desk.run("document.querySelector('[name=units]').select()")
        try await desk.type("5", into: "[name=units]")
        try await desk.click(".planning .primary")
        try await desk.read("Fixed, since it is public or open.")
        try await desk.run("document.querySelector('[name=units]').select()")
        try await desk.type("20", into: "[name=units]")
        try await desk.click(".planning .primary")
        try await desk.read("Saved.")
        let sale = try await desk.run("return location.hash.split('/').pop()").string ?? ""
        try await desk.close()

        let phone = try await browser.window(shop.origin)
        try await signIn(phone, "bob", Demonstration.password)
        try await phone.go("sales/\(sale)")
        try await phone.read("Lanterns at noon")
        try await phone.read("¥88.50")
        try await phone.wait("/\\b20\\b/.test(document.querySelector('.variants').innerText)")
        try await phone.close()
        try await everyPageOfABrandIsForEverybody(shop, browser)
    }

    private func everyPageOfABrandIsForEverybody(_ shop: Shop, _ browser: Browser) async throws {
        let script = try String(contentsOfFile: "\(Stack.root)/Web/Checks/PageFaults.js", encoding: .utf8)
        for (width, isDark) in [(320, true), (1280, false)] {
            let window = try await browser.window(shop.origin, width: width, height: 800, isDark: isDark)
            try await signIn(window, Demonstration.brand.handle, Demonstration.password)
            for (page, sign) in try await shop.brandPages() {
                try await window.go(page)
                try await window.wait("document.querySelector(`\(sign)`)")
                let faults = try await window.run(script).elements.compactMap(\.string)
                #expect(faults == [], "\(page), \(width) pixels, \(isDark ? "dark" : "light")")
            }
            #expect(try await window.complaints() == [])
            try await window.close()
        }
    }

    // MARK: Buying

    private func aPersonSignsUpFollowsOrdersPaysAndSeesItOnASecondDevice(
        _ shop: Shop, _ browser: Browser
    ) async throws {
        let phone = try await browser.window(shop.origin)
        try await signUp(phone, "Carol", "carol")
        // No script can read what keeps the session, and a reload goes on with it.
        #expect(try await phone.run("return document.cookie") == .string(""))
        try await phone.reload()
        try await phone.wait("document.querySelector('.rooms')")
        try await shop.topUp("carol", Self.password)

        try await phone.go("brands/\(shop.brand.id)")
        try await phone.click(".brand-head button.primary")
        try await phone.wait("document.querySelector('.brand-head [aria-pressed=true]')")
        // What the brand posts comes by itself.
        try await shop.announceSale(opensIn: 8)
        try await phone.wait("document.querySelector('.post .goods.before')")
        try await phone.click(".post .goods")
        // Before the opening there is nothing to press, and a countdown.
        try await phone.wait("document.querySelector('.order-form button:disabled')")
        try await phone.wait("/^\\d\\d:\\d\\d$/.test(document.querySelector('.countdown strong')?.textContent)")
        try await aDeviceWhoseClockIsWrongCountsAsTheServerDoes(shop, browser, try await phone.address())
        try await phone.wait("!document.querySelector('.order-form button:disabled')")
        try await phone.click(".order-form button")
        try await phone.read("Reserved")
        try await phone.wait("document.querySelector('.hold strong')")
        try await phone.click(".order-state button.primary")
        try await phone.wait("document.querySelector('.sale .is-confirmed')")

        // What was not read is counted, on whichever device, until it is read on one.
        try await phone.go("orders")
        try await phone.wait("document.querySelector('.rooms .badge')")
        let desk = try await browser.window(shop.origin, width: 1280, height: 800)
        try await signIn(desk, "carol")
        try await desk.wait("document.querySelector('.line .badge')?.textContent === '2'")
        try await desk.go("orders")
        try await desk.click(".line")
        try await desk.wait("document.querySelector('.order-state.is-confirmed')")
        try await desk.go("chats")
        try await desk.click(".line")
        try await desk.wait("document.querySelectorAll('.message .order-card').length === 2")
        try await desk.wait("!document.querySelector('.line .badge')")
        try await phone.reload()
        try await phone.wait("document.querySelector('.rooms a') && document.querySelector('.list .line')")
        #expect(try await phone.run("return document.querySelectorAll('.badge').length") == .integer(0))
        try await desk.go("wallet")
        try await desk.read("+¥5,000.00")
        try await desk.read("¥3,001.00")

        // What happens on one is seen on the other.
        try await desk.go("orders")
        try await desk.click(".line")
        try await desk.click(".order-state > button.quiet")
        try await desk.click(".order-state .danger")
        try await desk.read("Refunded")
        try await phone.read("Refunded")
        #expect(try await phone.complaints() == [])
        #expect(try await desk.complaints() == [])
        try await phone.close()
        try await desk.close()
    }

    private func aDeviceWhoseClockIsWrongCountsAsTheServerDoes(
        _ shop: Shop, _ browser: Browser, _ sale: String
    ) async throws {
        let window = try await browser.window(shop.origin)
        try await window.protocolCommand("Page.addScriptToEvaluateOnNewDocument") {
            $0.field("source", "const now = Date.now; Date.now = () => now() - 7200000;")
        }
        try await signIn(window, "carol")
        try await window.go(sale)
        // Less than a minute is left, or nothing is; by the device's own clock it were two hours.
        try await window.wait("document.querySelector('.countdown strong, .open-now')")
        let left = try await window.run("return document.querySelector('.countdown strong')?.textContent ?? '00:00'")
        #expect(left.string?.hasPrefix("00:") == true, "\(left)")
        try await window.close()
    }

    // MARK: Talking

    private func whatIsSaidIsTextAndALossOfTheNetworkLosesNothing(_ shop: Shop, _ browser: Browser) async throws {
        let window = try await browser.window(shop.origin)
        try await signUp(window, "Dan <b>Bold</b>", "dan")
        let conversation = try await shop.write(
            to: "dan", password: Self.password,
            "<img src=x onerror=\"document.title='hit'\"><script>document.title='hit'</script> javascript:alert(1)")
        try await window.go("chats/\(conversation)")
        try await window.wait("document.querySelector('.bubble')")
        let text = try await window.run("return document.querySelector('.bubble').textContent").string ?? ""
        #expect(text.hasPrefix("<img src=x onerror="))
        #expect(try await window.run("return document.querySelectorAll('.bubble *').length") == .integer(0))
        #expect(try await window.run("return document.title").string?.contains("hit") == false)
        #expect(try await window.complaints() == [])

        try await window.setOffline(true)
        try await window.read("No connection.")
        try await window.type("said without a network", into: ".composer textarea")
        try await window.click(".composer button")
        try await window.wait("document.querySelector('.message.pending')")
        // It survives a page that is closed; there is nothing to read it from until the network is back.
        try await window.setOffline(false)
        try await window.wait("!document.querySelector('.message.pending')")
        try await window.wait("document.querySelectorAll('.message.own').length === 1")
        try await window.wait("!document.querySelector('.away span')")
        #expect(try await shop.messages(of: conversation).filter { $0 == "said without a network" }.count == 1)
        // Somebody else is found by their handle.
        try await window.go("chats")
        try await window.click("[aria-expanded]")
        try await window.type("nobody-at-all", into: "[name=handle]")
        try await window.click(".new-conversation button")
        try await window.read("Nobody else has this handle.")
        try await window.run("document.querySelector('[name=handle]').select()")
        try await window.type("Carol", into: "[name=handle]")
        try await window.click(".new-conversation button")
        try await window.wait(
            "location.hash !== '#/chats' && document.querySelector('.chat h1')?.textContent === 'Carol'")
        // A sale is sent to them as a card, and theirs is the same sale.
        try await window.go(try await shop.saleAddress())
        try await window.click(".forward > button")
        try await window.click(".forward .line")
        try await window.wait("document.querySelector('.message.own:not(.pending) .goods strong')")
        try await window.go("chats/\(conversation)")
        try await window.wait("document.querySelector('.message.own')")
        // What was said meanwhile and what is said now both come.
        try await shop.write(to: "dan", password: Self.password, "and an answer")
        try await window.read("and an answer")
        try await window.close()
    }

    // MARK: Bad input

    private func formsSayWhatIsWrongBesideTheFieldAndKeepTheRest(_ shop: Shop, _ browser: Browser) async throws {
        let window = try await browser.window(shop.origin)
        try await window.go("sign-up")
        try await window.type("Erin", into: "[name=displayName]")
        try await window.type("e", into: "[name=handle]")
        try await window.type("short", into: "[name=password]")
        try await window.click("button.primary")
        try await window.wait("document.querySelector('[name=handle][aria-invalid=true]')")
        let kept = try await window.run(
            "return [...document.querySelectorAll('form input')].map((one) => one.value).join('|')")
        #expect(kept == .string("Erin|e|short"))
        let said = try await window.run(
            """
            const field = document.querySelector('[name=handle]');
            return document.getElementById(field.getAttribute('aria-describedby')).textContent
            """)
        #expect(said == .string("3 to 32 letters or digits, with . _ - between them."))
        try await window.go("")
        try await window.type("carol", into: "[name=handle]")
        try await window.type("not her password", into: "[name=password]")
        try await window.click("button.primary")
        try await window.read("Handle or password is wrong.")
        #expect(try await window.run("return document.querySelector('[name=handle]').value") == .string("carol"))
        try await window.close()
    }

    private func aSessionThatEndsAsksAgainAndGoesOn(_ shop: Shop, _ browser: Browser) async throws {
        let window = try await browser.window(shop.origin)
        try await signIn(window, "carol")
        try await window.go("wallet")
        try await window.read("Statement")
        try await shop.endSessions("carol", Self.password)
        try await window.read("Your session has ended.")
        try await window.type("carol", into: "[name=handle]")
        try await window.type(Self.password, into: "[name=password]")
        try await window.click("button.primary")
        try await window.read("Statement")
        try await window.go("me")
        try await window.click("form .wide")
        try await window.read("Welcome back")
        try await window.reload()
        try await window.read("Welcome back")
        try await window.close()
    }

    // MARK: Much

    private func tenThousandMessagesScroll(_ shop: Shop, _ browser: Browser) async throws {
        let window = try await browser.window(shop.origin)
        try await signUp(window, "Frank", "frank")
        let conversation = try await shop.write(to: "frank", password: Self.password, "the first")
        try await shop.fill(conversation, with: 10_000)
        try await window.reload()
        try await window.go("chats/\(conversation)")
        try await window.read("message 10000")
        // To the beginning, as fast as pages come.
        try await window.run(
            """
            window.scrolling = setInterval(() => { document.querySelector('.messages').scrollTop = 0; }, 20);
            """)
        try await window.wait("document.querySelector('.beginning')", within: .seconds(90))
        try await window.run("clearInterval(window.scrolling)")
        try await window.read("the first")
        let drawn = try await window.run("return document.querySelectorAll('.message').length").integer ?? .max
        #expect(drawn < 500, "\(drawn) of 10,000 are drawn")
        try await window.run("const box = document.querySelector('.messages'); box.scrollTop = box.scrollHeight;")
        try await window.read("message 10000")
        try await window.close()
    }

    // MARK: The demonstration

    /// As `make up` starts it, on what is there already.
    private func theDemonstrationGoesOn(_ stack: Stack, _ shop: Shop) async throws {
        let up = try await stack.run("\(Stack.root)/scripts/up", adding: ["DEMO": "yes"]).requireSuccess()
        #expect(up.output.contains("sign in as alice or bob, or as the brand phones: \(Demonstration.password)"))
        try await stack.eventually { try stack.log("demo").contains("a sale opens at ") }
    }

    // MARK: For everybody

    private func everyPageIsForEverybody(_ shop: Shop, _ browser: Browser) async throws {
        let script = try String(contentsOfFile: "\(Stack.root)/Web/Checks/PageFaults.js", encoding: .utf8)
        for (width, isDark) in [(390, false), (390, true), (320, false), (1280, false), (1280, true)] {
            let window = try await browser.window(shop.origin, width: width, height: 800, isDark: isDark)
            func look(_ page: String) async throws {
                let faults = try await window.run(script).elements.compactMap(\.string)
                #expect(faults == [], "\(page), \(width) pixels, \(isDark ? "dark" : "light")")
            }
            for (page, sign) in [("", "Welcome back"), ("sign-up", "Make an account")] {
                try await window.go(page)
                try await window.read(sign)
                try await look(page)
            }
            try await signIn(window, "carol")
            for (page, sign) in try await shop.pages() {
                try await window.go(page)
                try await window.wait("document.querySelector(`\(sign)`)")
                try await look(page)
            }
            #expect(try await window.complaints() == [])
            try await window.close()
        }
    }
}
