// What the five services are made of, asked of the services themselves.
import CatalogCore
import MessagingCore
import Models
import NotificationCore
import PaymentCore
import ReservationCore
import ServiceKit
import TestSupport

@testable import StampedeCore

/// What one service's features say of themselves.
struct ServiceManifest {
    let topics: [Topic]
    let publishes: Set<Topic>
    let consumers: [(topic: Topic, group: String?)]
    let endpoints: [Endpoint]

    static func all() throws -> [Settings.Service: ServiceManifest] {
        let root = ["STAMPEDE_ROOT_KEYS": try TestRoot.keys()]
        func publishers(_ name: String) -> [String: String] { TestPublishers.settings.filter { $0.key == name } }
        return [
            .messaging: try of(
                MessagingService.self,
                publishers("STAMPEDE_ORDER_SECRET").merging(["STAMPEDE_ROOT_SECRET": TestRoot.text]) { $1 }),
            .catalog: try of(CatalogService.self, root),
            .reservation: try of(
                ReservationService.self, root.merging(publishers("STAMPEDE_PUBLISHERS")) { $1 }),
            .payment: try of(PaymentService.self, root),
            .notification: try of(NotificationService.self, [:]),
        ]
    }

    private static func of<Running: Service>(
        _ type: Running.Type, _ own: [String: String]
    ) throws -> ServiceManifest {
        let standard = [
            "KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:1", "STAMPEDE_POSTGRES_DSN": "postgresql://nobody@127.0.0.1:1/none",
        ]
        let service = try RunningService<Running>.assembled(environment: standard.merging(own) { $1 })
        return ServiceManifest(
            topics: service.topics, publishes: Set(service.features.flatMap(\.publishes)),
            consumers: service.features.flatMap(\.consumes).map { ($0.topic, $0.group) },
            endpoints: service.endpoints)
    }
}
