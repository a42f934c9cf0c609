// How long what is over is kept.
import ServiceKit

struct DataRetention: Feature {
    let repeats: [any Component]

    init(_ context: ServiceContext) {
        repeats = [Forgetting(context, RetentionStatements.deletions)]
    }
}
