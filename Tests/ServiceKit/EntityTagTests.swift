// Entity tags, and what requests say with them.
import HTTP
import Testing

@testable import ServiceKit

@Suite struct EntityTagTests {
    @Test(arguments: [
        ("*", ["*"]), (#""a""#, ["a"]), (#"W/"a""#, ["a"]), (#" "a" , W/"b,c","" "#, ["a", "b,c", ""]),
        (#",,"a",,"#, ["a"]),
    ])
    func listsAreRead(text: String, tags: [String]) { #expect(EntityTagList.read(text) == tags) }

    @Test(arguments: [
        "", " ", "a", #""a"#, #"a""#, #""a"b"#, #""a""b""#, "**", #"*, "a""#, #"w/"a""#, "W/a", "W/*", #""a";"#,
    ])
    func whatIsNoListIsNone(text: String) { #expect(EntityTagList.read(text) == nil) }

    private func precondition(_ headers: HeaderFields) throws -> Precondition {
        try Precondition(HTTPRequest(.put, "/", headers: headers))
    }

    private func status(_ headers: HeaderFields, _ current: EntityTag?) throws -> Int? {
        do {
            try precondition(headers).check(current)
            return nil
        } catch let refusal as PreconditionRefusal {
            return refusal.problem.status
        }
    }

    @Test func anEditIsHeldAgainstTheRevisionAndAReadAgainstTheDocument() throws {
        let (read, soldOut) = (EntityTag(of: [1], revision: 3), EntityTag(of: [2], revision: 3))
        let edited = EntityTag(of: [1], revision: 30)
        #expect(try status(["If-Match": read.text], soldOut) == nil)
        #expect(try status(["If-Match": read.text], edited) == 412)
        #expect(try status(["If-Match": edited.text], read) == 412)
        #expect(try status(["If-None-Match": read.text], soldOut) == nil)
        #expect(try status(["If-None-Match": read.text], read) == 412)
        let (document, other) = (EntityTag(of: [1]), EntityTag(of: [2]))
        #expect(try status(["If-Match": document.text], document) == nil)
        #expect(try status(["If-Match": document.text], other) == 412)
    }

    @Test func anythingIsWhateverThereIs() throws {
        #expect(try status(["If-Match": "*"], EntityTag(of: [1])) == nil)
        #expect(try status(["If-Match": "*"], nil) == 412)
        #expect(try status(["If-None-Match": "*"], EntityTag(of: [1])) == 412)
        #expect(try status(["If-None-Match": "*"], nil) == nil)
        #expect(try status([:], nil) == nil)
        #expect(throws: PreconditionRefusal.required) { try precondition(["If-None-Match": "*"]).requireMatch() }
        try precondition(["If-Match": "*"]).requireMatch()
    }

    /// The Kelvin sign is a K to Swift's text: a tag is compared by its bytes.
    @Test func tagsAreComparedByTheirBytes() throws {
        for number in UInt8.min...UInt8.max {
            let tag = EntityTag(of: [number])
            guard tag.text.contains("K") else { continue }
            #expect(try status(["If-Match": tag.text.replacing("K", with: "\u{212a}")], tag) == 412)
            return
        }
        Issue.record("no tag has a K")
    }
}
