// Which columns make a value: said once, for the statement that selects them and for the reader of its rows.

/// Columns in an order, and what is made of them:
///
///     static let productRow = Columns("product_id", "brand_id", "title", make: Product.init)
///     let rows = try await pool.query("SELECT \(productRow) FROM products WHERE brand_id = \(brand)")
///     let products = try productRow.all(rows)
///
/// Where a statement selects more, its other columns come after these.
public struct Columns<Value: Sendable>: Sendable {
    /// `product_id, brand_id, title`
    let list: String
    let names: [String]
    public let count: Int
    /// From the column on that is named.
    private let make: @Sendable (Row, Int) throws -> Value

    /// - Parameters:
    ///   - names: a column's name or an expression for each of the maker's parameters, in their order.
    ///   - make: throws where the columns make no value.
    public init<each Column: PostgresDecodable>(
        _ names: StaticString..., make: @escaping @Sendable (repeat each Column) throws -> Value
    ) {
        self.init(names.map(\.description), make)
    }

    private init<each Column: PostgresDecodable>(
        _ names: [String], _ make: @escaping @Sendable (repeat each Column) throws -> Value
    ) {
        var count = 0
        for _ in repeat (each Column).self { count += 1 }
        precondition(names.count == count, "\(names.count) columns for \(count) values of a \(Value.self)")
        self.init(names, count) { row, first in
            var column = first - 1
            func next<One: PostgresDecodable>(_: One.Type) throws(PostgresError) -> One {
                column += 1
                return try row.get(column)
            }
            return try make(repeat try next((each Column).self))
        }
    }

    private init(_ names: [String], _ count: Int, _ make: @escaping @Sendable (Row, Int) throws -> Value) {
        list = names.joined(separator: ", ")
        self.names = names
        self.count = count
        self.make = make
    }

    /// The same columns of one of the tables that a statement joins. For names, not for expressions.
    public func of(_ table: StaticString) -> Columns {
        Columns(names.map { "\(table).\($0)" }, count, make)
    }

    /// These columns and one more.
    public func and<Other: PostgresDecodable>(
        _ name: StaticString, as type: Other.Type = Other.self
    ) -> Columns<(Value, Other)> {
        let (make, count) = (make, count)
        return Columns<(Value, Other)>(names + [name.description], count + 1) { row, first in
            (try make(row, first), try row.get(first + count))
        }
    }

    /// These columns and others behind them.
    public func and<Other>(_ others: Columns<Other>) -> Columns<(Value, Other)> {
        let (make, count) = (make, count)
        return Columns<(Value, Other)>(names + others.names, count + others.count) { row, first in
            (try make(row, first), try others.make(row, first + count))
        }
    }

    /// The same, nil where the first of them is NULL: for what an outer join may not find.
    public var optional: Columns<Value?> {
        let make = make
        return Columns<Value?>(names, count) { row, first in row.isNull(first) ? nil : try make(row, first) }
    }

    /// What the first columns of a row are.
    public func value(_ row: Row) throws -> Value { try make(row, 0) }

    /// The first row's, nil where there is none.
    public func first(_ rows: Rows) throws -> Value? { try rows.first.map(value) }

    /// Every row's.
    public func all(_ rows: Rows) throws -> [Value] {
        var values: [Value] = []
        values.reserveCapacity(rows.count)
        for row in rows { values.append(try make(row, 0)) }
        return values
    }
}
