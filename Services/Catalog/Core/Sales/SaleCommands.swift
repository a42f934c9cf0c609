// What brands may do with their products and sales. Each command is one transaction; what it publishes leaves after it, a
// sale's records in the order of its revisions: they are committed in that order, because a command locks its sale.
import EventPipeline
import JSON
import Models
import Postgres
import ServiceKit

/// Why a command was refused. Nothing was changed.
enum CatalogRefusal: Error, Equatable {
    /// There is no such thing, or only its brand may know of it.
    case unknown
    /// It belongs to another brand.
    case notYours
    /// The request says what cannot be.
    case faults([Fault])
    /// The sale is public, and buyers rely on what these fields say.
    case fixed([Fault])
    /// Only a draft can be deleted.
    case isPublished
}

struct CatalogDesk: Sendable {
    let relay: Relay
    let postgres: PostgresPool
    let newProductID: @Sendable () -> ProductID
    let newSaleID: @Sendable () -> SaleID

    init(
        relay: Relay, postgres: PostgresPool, newProductID: @escaping @Sendable () -> ProductID,
        newSaleID: @escaping @Sendable () -> SaleID
    ) {
        self.relay = relay
        self.postgres = postgres
        self.newProductID = newProductID
        self.newSaleID = newSaleID
    }

    // MARK: Products

    /// - Parameter command: its key; nil where the same plan sent again is another product.
    func createProduct(
        _ plan: ProductPlan, by brand: BrandID, once command: IdempotentCommand?
    ) async throws -> KeptAnswer {
        try Self.refuse(CatalogRefusal.faults, plan.faults())
        let product = plan.product(newProductID(), of: brand)
        return try await relay.commit { step in
            try await step.transaction.once(command) {
                _ = try await step.transaction.execute(ProductStatements.insert(product, at: step.now))
                step.publish(.products, key: product.productId, id: "\(product.productId)", product)
                return Self.made(product, at: "/v1/products/\(product.productId)")
            }.answer
        }
    }

    func product(_ id: ProductID) async throws -> Product {
        guard let row = try await postgres.query(ProductStatements.find(id)).first else { throw CatalogRefusal.unknown }
        return try ProductStatements.product(row)
    }

    func products(_ page: Page, of brand: BrandID?) async throws -> Page.Slice<Product> {
        let cursor = try page.position { ProductID($0) }
        let rows = try await postgres.query(ProductStatements.list(before: cursor, of: brand, limit: page.limit + 1))
        return page.slice(try rows.map(ProductStatements.product)) { "\($0.productId)" }
    }

    // MARK: Sales

    /// - Parameter command: its key; nil where the same plan sent again is another draft.
    func createSale(
        _ plan: SalePlan, by brand: BrandID, once command: IdempotentCommand?
    ) async throws -> KeptAnswer {
        let id = newSaleID()
        return try await relay.commit { step in
            try await step.transaction.once(command) {
                let product = try await Self.product(plan.productId, of: brand, step)
                try Self.refuse(CatalogRefusal.faults, plan.faults(for: product))
                let sale = plan.sale(id, of: brand, revision: Self.firstRevision)
                _ = try await step.transaction.pipeline([
                    SaleStatements.insert(sale, at: step.now),
                    SaleStatements.record(sale, .created, by: brand, at: step.now),
                ])
                let stored = StoredSale(sale: sale, status: .draft, createdAt: step.now, publishedAt: nil)
                return Self.made(SaleView(stored: stored, soldOut: [:]), at: "/v1/sales/\(id)")
            }.answer
        }
    }

    static let firstRevision: Int64 = 1

    private static func made(_ document: some JSONWritable, at location: String) -> KeptAnswer {
        KeptAnswer(status: 201, location: location, body: JSONWriter.document(document))
    }

    /// Makes the sale what the plan says; a plan that says what is there changes nothing. It must say which state it was
    /// made of: a plan made of an older one would take back what was changed since.
    func changeSale(
        _ id: SaleID, to plan: SalePlan, by brand: BrandID, if precondition: Precondition
    ) async throws -> SaleView {
        try await relay.commit { step in
            let stored = try await Self.lock(id, of: brand, step)
            try precondition.requireMatch()
            try await Self.check(precondition, stored, step)
            if plan == SalePlan(stored.sale) { return try await Self.view(stored, step) }
            let product = try await Self.product(plan.productId, of: brand, step)
            try Self.refuse(CatalogRefusal.faults, plan.faults(for: product))
            if stored.status == .published {
                try Self.refuse(CatalogRefusal.fixed, plan.changeFaults(from: stored.sale, at: step.now))
                try Self.refuse(CatalogRefusal.faults, plan.publicationFaults())
            }
            let sale = plan.sale(id, of: brand, revision: stored.sale.revision + 1)
            _ = try await step.transaction.pipeline([
                SaleStatements.update(sale),
                SaleStatements.record(sale, .changed, by: brand, at: step.now),
                LineStatements.raise(plan.raisedLines(from: stored.sale), of: id, at: step.now),
            ])
            if stored.status == .published { step.publish(sale) }
            let changed = StoredSale(
                sale: sale, status: stored.status, createdAt: stored.createdAt, publishedAt: stored.publishedAt)
            return try await Self.view(changed, step)
        }
    }

    /// Makes a draft public; a sale that is public already stays as it is.
    func publishSale(_ id: SaleID, by brand: BrandID, if precondition: Precondition) async throws -> SaleView {
        try await relay.commit { step in
            let stored = try await Self.lock(id, of: brand, step)
            try await Self.check(precondition, stored, step)
            if stored.status == .published { return try await Self.view(stored, step) }
            try Self.refuse(CatalogRefusal.faults, SalePlan(stored.sale).publicationFaults())
            let sale = SalePlan(stored.sale).sale(id, of: brand, revision: stored.sale.revision + 1)
            _ = try await step.transaction.pipeline([
                SaleStatements.publish(sale, at: step.now),
                SaleStatements.record(sale, .published, by: brand, at: step.now),
            ])
            step.publish(sale)
            let published = StoredSale(
                sale: sale, status: .published, createdAt: stored.createdAt, publishedAt: step.now)
            return SaleView(stored: published, soldOut: [:])
        }
    }

    /// Deletes a draft and its history: nobody but its brand has seen it.
    func deleteDraft(_ id: SaleID, by brand: BrandID, if precondition: Precondition) async throws {
        try await relay.commit { step in
            let stored = try await Self.lock(id, of: brand, step)
            try await Self.check(precondition, stored, step)
            if stored.status == .published { throw CatalogRefusal.isPublished }
            _ = try await step.transaction.execute(SaleStatements.delete(id))
        }
    }

    /// A public sale, or the reader's own draft.
    func sale(_ id: SaleID, for reader: AccountID) async throws -> SaleView {
        guard let row = try await postgres.query(SaleStatements.find(id)).first else { throw CatalogRefusal.unknown }
        let stored = try SaleStatements.stored(row)
        guard stored.isVisible(to: reader) else { throw CatalogRefusal.unknown }
        return try await views([stored])[0]
    }

    func sales(_ page: Page, _ filter: SaleFilter, for reader: AccountID) async throws -> Page.Slice<SaleView> {
        let cursor = try page.position { SaleID($0) }
        let rows = try await postgres.query(
            SaleStatements.list(before: cursor, filter, for: reader, limit: page.limit + 1))
        return page.slice(try await views(rows.map(SaleStatements.stored))) { "\($0.stored.sale.saleId)" }
    }

    /// What became of a sale, newest first: for its brand alone.
    func changes(of id: SaleID, _ page: Page, for reader: AccountID) async throws -> Page.Slice<SaleChange> {
        guard let row = try await postgres.query(SaleStatements.find(id)).first else { throw CatalogRefusal.unknown }
        let stored = try SaleStatements.stored(row)
        guard stored.isVisible(to: reader) else { throw CatalogRefusal.unknown }
        guard stored.sale.brandId == reader else { throw CatalogRefusal.notYours }
        let before = try page.position { Int64($0) } ?? Int64.max
        let rows = try await postgres.query(SaleStatements.changes(id, before: before, limit: page.limit + 1))
        return page.slice(try rows.map(SaleStatements.change)) { "\($0.sale.revision)" }
    }

    // MARK: Pieces

    private func views(_ sales: [StoredSale]) async throws -> [SaleView] {
        if sales.isEmpty { return [] }
        return try Self.views(sales, try await postgres.query(LineStatements.soldOut(of: sales.map(\.sale.saleId))))
    }

    /// The sale as the step leaves it. Read before the commit: afterwards nothing may fail any more.
    private static func view(_ stored: StoredSale, _ step: Step) async throws -> SaleView {
        let rows = try await step.transaction.query(LineStatements.soldOut(of: [stored.sale.saleId]))
        return try views([stored], rows)[0]
    }

    private static func views(_ sales: [StoredSale], _ soldOutRows: Rows) throws -> [SaleView] {
        var soldOut: [SaleID: [LineKey: Timestamp]] = [:]
        for row in soldOutRows {
            let (sale, key, time) = try LineStatements.soldOutLine(row)
            soldOut[sale, default: [:]][key] = time
        }
        return sales.map { SaleView(stored: $0, soldOut: soldOut[$0.sale.saleId] ?? [:]) }
    }

    private static func check(_ precondition: Precondition, _ stored: StoredSale, _ step: Step) async throws {
        if precondition.isEmpty { return }
        try precondition.check(try await view(stored, step).tag)
    }

    /// The sale, locked until the step is committed.
    private static func lock(_ id: SaleID, of brand: BrandID, _ step: Step) async throws -> StoredSale {
        guard let row = try await step.transaction.query(SaleStatements.lock(id)).first else {
            throw CatalogRefusal.unknown
        }
        let stored = try SaleStatements.stored(row)
        guard stored.isVisible(to: brand) else { throw CatalogRefusal.unknown }
        guard stored.sale.brandId == brand else { throw CatalogRefusal.notYours }
        return stored
    }

    private static func product(_ id: ProductID, of brand: BrandID, _ step: Step) async throws -> Product {
        guard let row = try await step.transaction.query(ProductStatements.find(id)).first else {
            throw CatalogRefusal.faults([Fault("productId", "one of your products")])
        }
        let product = try ProductStatements.product(row)
        try refuse(CatalogRefusal.faults, product.brandId == brand ? [] : [Fault("productId", "one of your products")])
        return product
    }

    private static func refuse(_ kind: ([Fault]) -> CatalogRefusal, _ faults: [Fault]) throws(CatalogRefusal) {
        if !faults.isEmpty { throw kind(faults) }
    }
}
