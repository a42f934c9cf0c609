// How a stock's pool is shared among partitions.
import Models
import Testing

@testable import ReservationCore

@Suite struct LeaseTests {
    @Test func grantsShrinkAsThePoolEmptiesAndNoUnitIsLostOrMade() {
        var stock = LeasedStock(pool: 150_000, places: 1000, leases: [])
        var grants: [Int64] = []
        var given: Int64 = 0
        var turn: Int32 = 0
        while stock.freeUnits > 0 {
            let partition = turn % 12
            turn += 1
            stock.grant(to: partition, wanted: 10_000, partitions: 12)
            guard let index = stock.leases.firstIndex(where: { $0.partition == partition }) else { return }
            grants.append(stock.leases[index].units)
            given += stock.leases[index].units
            stock.leases[index].units = 0
            #expect(given + stock.freeUnits == 150_000)
        }
        #expect(grants.first == 10_000)
        #expect(grants.dropLast().allSatisfy { $0 >= LeasedStock.grantMin })
        #expect(grants.count < 120)
        #expect(stock.leases.reduce(stock.places) { $0 + $1.places } == 1000)
    }

    @Test func whenThePoolIsEmptyTheUnusedUnitsOfOthersAreTaken() {
        var stock = LeasedStock(
            pool: 0, places: 10,
            leases: [Lease(partition: 1, units: 5, places: 0), Lease(partition: 2, units: 3, places: 0)])
        stock.grant(to: 7, wanted: 6, partitions: 12)
        #expect(stock.leases.first { $0.partition == 7 } == Lease(partition: 7, units: 6, places: 0))
        #expect(stock.freeUnits == 8)
        #expect(stock.places == 10)
    }

    @Test func placesAreGrantedOnlyWhenNoUnitIsLeft() {
        var stock = LeasedStock(pool: 0, places: 10, leases: [Lease(partition: 1, units: 0, places: 0)])
        stock.grant(to: 1, wanted: 4, partitions: 12)
        #expect(stock.leases[0] == Lease(partition: 1, units: 0, places: 4))
        #expect(stock.places == 6)
    }
}
