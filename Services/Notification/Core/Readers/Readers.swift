// Who is told, and in which language.
// Other features use ReaderStatements.
import EventPipeline
import Models
import Postgres
import ServiceKit

struct Readers: Feature {
    static let keeps = [
        Migration(number: 3, name: "reader_revision", sql: PackageResources._003_reader_revision_sql)
    ]

    let consumes: [any Consumer]

    init(_ context: ServiceContext) {
        consumes = [EventProcessor(context, name: "accounts", topic: .accounts, handler: ReaderHandler())]
    }
}
