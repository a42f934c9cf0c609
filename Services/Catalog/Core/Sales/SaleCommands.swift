// What brands may do with their sales. Each command is one transaction; what it publishes leaves after it, a sale's
// records in the order of its revisions: they are committed in that order, because a command locks its sale.
import EventPipeline
import Models
import ServiceKit

struct SaleCommands: Sendable {
    /// Why a command was refused. Nothing was changed.
    enum Refusal: Error, Equatable, Sendable {
        /// There is no such sale, or only its brand may know of it.
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

    static let firstRevision: Int64 = 1

    let relay: Relay
    let newID: @Sendable () -> SaleID

    /// Makes a draft.
    /// - Parameter command: its key; nil where the same plan sent again is another draft.
    func create(_ plan: SalePlan, by brand: BrandID, once command: IdempotentCommand?) async throws -> KeptAnswer {
        let id = newID()
        return try await relay.commit { unit in
            try await unit.transaction.once(command) {
                let product = try await Self.product(plan.productId, of: brand, unit)
                try Self.refuse(Refusal.faults, plan.faults(for: product))
                let sale = plan.sale(id, of: brand, revision: Self.firstRevision)
                _ = try await unit.transaction.pipeline([
                    SaleStatements.insert(sale, at: unit.now),
                    SaleStatements.record(sale, .created, by: brand, at: unit.now),
                ])
                let stored = StoredSale(sale: sale, status: .draft, createdAt: unit.now, publishedAt: nil)
                return SaleView(stored: stored, soldOut: [:]).created
            }.answer
        }
    }

    /// Makes the sale what the plan says; a plan that says what is there changes nothing. It must say which state it was
    /// made of: a plan made of an older one would take back what was changed since.
    func change(
        _ id: SaleID, to plan: SalePlan, by brand: BrandID, if precondition: Precondition
    ) async throws -> SaleView {
        try await relay.commit { unit in
            let stored = try await Self.lock(id, of: brand, unit)
            try precondition.requireMatch()
            try await Self.check(precondition, stored, unit)
            if plan == SalePlan(stored.sale) { return try await Self.view(stored, unit) }
            let product = try await Self.product(plan.productId, of: brand, unit)
            try Self.refuse(Refusal.faults, plan.faults(for: product))
            if stored.status == .published {
                try Self.refuse(Refusal.fixed, plan.changeFaults(from: stored.sale, at: unit.now))
                try Self.refuse(Refusal.faults, plan.publicationFaults())
            }
            let sale = plan.sale(id, of: brand, revision: stored.sale.revision + 1)
            _ = try await unit.transaction.pipeline([
                SaleStatements.update(sale),
                SaleStatements.record(sale, .changed, by: brand, at: unit.now),
                AvailabilityStatements.raise(plan.raisedLines(from: stored.sale), of: id, at: unit.now),
            ])
            if stored.status == .published { unit.publish(sale) }
            let changed = StoredSale(
                sale: sale, status: stored.status, createdAt: stored.createdAt, publishedAt: stored.publishedAt)
            return try await Self.view(changed, unit)
        }
    }

    /// Makes a draft public; a sale that is public already stays as it is.
    func publish(_ id: SaleID, by brand: BrandID, if precondition: Precondition) async throws -> SaleView {
        try await relay.commit { unit in
            let stored = try await Self.lock(id, of: brand, unit)
            try await Self.check(precondition, stored, unit)
            if stored.status == .published { return try await Self.view(stored, unit) }
            try Self.refuse(Refusal.faults, SalePlan(stored.sale).publicationFaults())
            let sale = SalePlan(stored.sale).sale(id, of: brand, revision: stored.sale.revision + 1)
            _ = try await unit.transaction.pipeline([
                SaleStatements.publish(sale, at: unit.now),
                SaleStatements.record(sale, .published, by: brand, at: unit.now),
            ])
            unit.publish(sale)
            let published = StoredSale(
                sale: sale, status: .published, createdAt: stored.createdAt, publishedAt: unit.now)
            return SaleView(stored: published, soldOut: [:])
        }
    }

    /// Deletes a draft and its history: nobody but its brand has seen it.
    func delete(_ id: SaleID, by brand: BrandID, if precondition: Precondition) async throws {
        try await relay.commit { unit in
            let stored = try await Self.lock(id, of: brand, unit)
            try await Self.check(precondition, stored, unit)
            if stored.status == .published { throw Refusal.isPublished }
            _ = try await unit.transaction.execute(SaleStatements.delete(id))
        }
    }

    // MARK: Pieces

    /// The sale as the unit of work leaves it. Read before the commit: afterwards nothing may fail any more.
    private static func view(_ stored: StoredSale, _ unit: UnitOfWork) async throws -> SaleView {
        let rows = try await unit.transaction.query(AvailabilityStatements.soldOut(of: [stored.sale.saleId]))
        return try SaleView.all([stored], soldOut: rows)[0]
    }

    private static func check(_ precondition: Precondition, _ stored: StoredSale, _ unit: UnitOfWork) async throws {
        if precondition.isEmpty { return }
        try precondition.check(try await view(stored, unit).tag)
    }

    /// The sale, locked until the unit of work is committed.
    private static func lock(_ id: SaleID, of brand: BrandID, _ unit: UnitOfWork) async throws -> StoredSale {
        let rows = try await unit.transaction.query(SaleStatements.lock(id))
        guard let stored = try SaleStatements.saleRow.first(rows), stored.isVisible(to: brand) else {
            throw Refusal.unknown
        }
        guard stored.sale.brandId == brand else { throw Refusal.notYours }
        return stored
    }

    private static func product(_ id: ProductID, of brand: BrandID, _ unit: UnitOfWork) async throws -> Product {
        let rows = try await unit.transaction.query(ProductStatements.find(id))
        guard let product = try ProductStatements.productRow.first(rows), product.brandId == brand else {
            throw Refusal.faults([Fault("productId", "one of your products")])
        }
        return product
    }

    private static func refuse(_ kind: ([Fault]) -> Refusal, _ faults: [Fault]) throws(Refusal) {
        if !faults.isEmpty { throw kind(faults) }
    }
}
