// Availability: which lines of a sale are sold out, as reservation says.
// Other features use AvailabilityStatements, LineKey.
import EventPipeline
import Models
import Postgres
import ServiceKit

struct Availability: Feature {
    static let keeps = [
        Migration(number: 4, name: "line_revision", sql: PackageResources._004_line_revision_sql)
    ]

    let consumes: [any Consumer]

    init(_ context: ServiceContext) {
        consumes = [
            EventProcessor(context, name: "reservations", topic: .reservations, handler: AvailabilityEvents())
        ]
    }
}
