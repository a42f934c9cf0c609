// Documents made of what the program declares: any that fits, and those at the bounds.
import JSON
import Models

extension EventPayload {
    package static var shape: JSONShape { .object(schema.members) }

    /// Any event of the type.
    package static func sample(_ random: inout SeededRandom) throws -> Self {
        try JSONParser.parse(shape.sample(&random).json, Self.init(json:))
    }
}

extension Topic {
    /// Every type of event that Stampede publishes.
    package static let allEvents = allCases.flatMap(\.events)
}

extension JSONShape {
    /// A document that fits.
    package func sample(_ random: inout SeededRandom) -> DocumentTree {
        switch self {
        case .boolean: return .boolean(random.bool())
        case .integer(let range):
            return .integer(random.pick([range.lowerBound, range.upperBound, Int64.random(in: range, using: &random)]))
        case .text(let characters):
            let text = random.text(countMax: min(24, characters.upperBound))
            let missing = characters.lowerBound - text.unicodeScalars.count
            return .string(text + String(repeating: "x", count: max(0, missing)))
        case .code(let alphabet, let count):
            let characters = Self.characters(of: alphabet)
            let length = random.int(in: count.lowerBound...min(count.upperBound, count.lowerBound + 20))
            return .string(String((0..<length).map { _ in random.pick(characters) }))
        case .pattern(_, _, let examples): return .string(random.pick(examples))
        case .choice(let known): return .string(random.pick(known))
        case .uuid: return .string("\(OrderID(high: random.next(), low: random.next() | 1))")
        case .time:
            let microseconds = random.pick([Int64.random(in: 0...2_000_000_000_000_000, using: &random), .min, .max])
            return .string("\(Timestamp(microseconds: microseconds))")
        case .array(let element, let countMax):
            return .array((0..<random.int(in: 0...min(countMax, 4))).map { _ in element.sample(&random) })
        case .object(let members):
            var found: [String: DocumentTree] = [:]
            for member in members where member.isRequired || random.bool() {
                found[member.name] = member.shape.sample(&random)
            }
            return .object(found)
        case .dictionary(let names, let values, let count):
            let count = random.int(in: count.lowerBound...min(count.upperBound, 4))
            return .object(
                Dictionary(uniqueKeysWithValues: names.names(count).map { ($0, values.sample(&random)) }))
        }
    }

    /// A value at a bound, or the first beyond one.
    package struct Edge: Sendable {
        package let value: DocumentTree
        package let isTaken: Bool
        /// The member that is at the bound, `price.amount`; empty for the value itself.
        package let path: String
    }

    /// Values at the bounds and beyond them, of each member below as well.
    package func edges(_ random: inout SeededRandom) -> [Edge] {
        let (taken, refused) = ownEdges(&random)
        var found = taken.map { Edge(value: $0, isTaken: true, path: "") }
        found += refused.map { Edge(value: $0, isTaken: false, path: "") }
        switch self {
        case .array(let element, let countMax) where countMax > 0:
            for edge in element.edges(&random) {
                found.append(Edge(value: .array([edge.value]), isTaken: edge.isTaken, path: "[0]" + edge.inner))
            }
        case .object(let members):
            for member in members {
                let whole = sample(&random).members
                for edge in member.shape.edges(&random) {
                    let value = whole.merging([member.name: edge.value]) { $1 }
                    found.append(Edge(value: .object(value), isTaken: edge.isTaken, path: member.name + edge.inner))
                }
                let without = whole.filter { $0.key != member.name }
                found.append(Edge(value: .object(without), isTaken: !member.isRequired, path: member.name))
            }
        case .dictionary(let names, let values, _):
            let name = names.names(1)[0]
            for edge in values.edges(&random) {
                found.append(
                    Edge(value: .object([name: edge.value]), isTaken: edge.isTaken, path: ".\(name)" + edge.inner))
            }
            for edge in names.edges(&random) {
                guard let name = edge.value.string else { continue }
                found.append(Edge(value: .object([name: values.sample(&random)]), isTaken: edge.isTaken, path: ""))
            }
        default: break
        }
        return found
    }

    private func ownEdges(_ random: inout SeededRandom) -> (taken: [DocumentTree], refused: [DocumentTree]) {
        func text(_ character: String, _ count: Int) -> DocumentTree {
            .string(String(repeating: character, count: count))
        }
        switch self {
        case .boolean: return ([.boolean(true), .boolean(false)], [.integer(1), .string("true")])
        case .integer(let range):
            let (low, high) = (range.lowerBound, range.upperBound)
            let beyond = [low == .min ? nil : low - 1, high == .max ? nil : high + 1].compactMap(\.self)
            return ([.integer(low), .integer(high)], beyond.map(DocumentTree.integer) + [.number(0.5), .string("1")])
        case .text(let characters):
            let (low, high) = (characters.lowerBound, characters.upperBound)
            let short: [DocumentTree] = low == 0 ? [] : [text("x", low - 1)]
            return (
                [text("x", low), text("x", high), text("手", high), text("\u{1F4F1}", high)],
                short + [text("x", high + 1), text("手", high + 1), .string("x\0"), .integer(1)]
            )
        case .code(let alphabet, let count):
            let known = Self.characters(of: alphabet)
            let ascii = (0...127).map { Character(Unicode.Scalar(UInt8($0))) }
            func spelt(_ character: Character) -> DocumentTree { text("\(character)", count.lowerBound) }
            return (
                known.map(spelt) + [text("\(known[0])", count.upperBound)],
                ascii.filter { !known.contains($0) }.map(spelt)
                    + [text("", 0), text("é", 1), text("\(known[0])", count.upperBound + 1), .integer(1)]
            )
        case .pattern(_, let countMax, let examples):
            let long = examples[0] + String(repeating: "x", count: countMax)
            return (examples.map(DocumentTree.string), [.string(""), .string("é"), .string("x y"), .string(long)])
        case .choice(let known):
            return (known.map(DocumentTree.string), [.string(""), .string("another"), .integer(1)])
        case .uuid(let isNilTaken):
            let (id, none) = ("\(OrderID(high: random.next(), low: 1))", "\(OrderID(high: 0, low: 0))")
            return (
                [.string(id)] + (isNilTaken ? [.string(none)] : []),
                [.string(String(id.dropLast())), .string(id + "0"), .string(id.replacing("-", with: "_")), .integer(1)]
                    + (isNilTaken ? [] : [.string(none)])
            )
        case .time:
            return (
                ["0001-01-01T00:00:00Z", "9999-12-31T23:59:59.999999Z", "2026-11-27T12:00:00.500Z"].map { .string($0) },
                [.string(""), .string("2026-02-30T12:00:00Z"), .string("2026-11-27"), .integer(1)]
            )
        case .array(let element, let countMax):
            let one = element.sample(&random)
            func many(_ count: Int) -> DocumentTree { .array(Array(repeating: one, count: count)) }
            return ([many(0), many(countMax)], [many(countMax + 1), .object([:])])
        case .object: return ([], [.array([]), .string("x")])
        case .dictionary(let names, let values, let count):
            let one = values.sample(&random)
            func many(_ count: Int) -> DocumentTree {
                .object(Dictionary(uniqueKeysWithValues: names.names(count).map { ($0, one) }))
            }
            return (
                [many(count.lowerBound), many(count.upperBound)],
                (count.lowerBound == 0 ? [] : [many(count.lowerBound - 1)]) + [many(count.upperBound + 1), .array([])]
            )
        }
    }

    private static func characters(of alphabet: Alphabet) -> [Character] {
        (0...127).filter(alphabet.contains).map { Character(Unicode.Scalar($0)) }
    }

    /// So many different texts of a pattern whose examples may go on behind a dash, as languages' tags.
    private func names(_ count: Int) -> [String] {
        guard case .pattern(_, _, let examples) = self else { preconditionFailure("names are of a pattern") }
        return (0..<count).map { $0 < examples.count ? examples[$0] : "\(examples[0])-\($0)" }
    }
}

extension JSONShape.Edge {
    /// Its path as it goes on behind the one of what it is in.
    fileprivate var inner: String { path.isEmpty || "[.".contains(path.prefix(1)) ? path : ".\(path)" }
}
