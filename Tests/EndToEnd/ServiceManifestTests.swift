// Lists that others keep of the services, held against what the services' features say.
import Models
import Testing

@testable import StampedeCore

@Suite struct ServiceManifestTests {
    @Test func consumerGroupsAndTablesAreThoseOfTheFeatures() throws {
        var groups: Set<String> = []
        var tables: Set<String> = []
        for (service, manifest) in try ServiceManifest.all() {
            for consumer in manifest.consumers {
                if let group = consumer.group {
                    groups.insert("\(group) \(consumer.topic)")
                } else {
                    tables.insert("\(service) \(consumer.topic)")
                }
            }
        }
        #expect(Set(ConsumerGroups.all.map { "\($0.group) \($0.topic)" }) == groups)
        #expect(Set(ConsumerGroups.tables.map { "\($0.service) \($0.topic)" }) == tables)
    }

    @Test func aTopicIsPublishedByItsOwnerAndOrdersByTheAppToo() throws {
        for (service, manifest) in try ServiceManifest.all() {
            let owned = Topic.allCases.filter { $0.owner == service.rawValue }
            #expect(manifest.publishes == Set(service == .messaging ? owned + [.orders] : owned), "\(service)")
        }
    }
}
