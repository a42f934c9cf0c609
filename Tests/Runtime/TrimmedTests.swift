import Runtime
import Testing

@Suite struct TrimmedTests {
    @Test(arguments: ["", " ", "a", " a", "a\t", "\t a b  ", "é "])
    func textsLoseTheSpacesAroundThem(_ text: String) {
        let trimmed = text[...].trimmed
        #expect(trimmed.first != " " && trimmed.last != " " && trimmed.first != "\t" && trimmed.last != "\t")
        #expect(text.filter { $0 != " " && $0 != "\t" } == trimmed.filter { $0 != " " })
    }
}
