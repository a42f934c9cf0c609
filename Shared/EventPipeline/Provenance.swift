// Who published a record, as far as it proves that.
import Kafka
import Models
import Observability
import Security

public enum Provenance: Sendable, Equatable {
    /// The record names nobody.
    case unsigned
    case proven(PublisherName)
    /// It names somebody who did not publish it.
    case forged
}

extension Incoming {
    /// Who published the record, and the trace that it is applied in: see `trace`.
    public func origin(_ keys: PublisherKeys) -> (provenance: Provenance, trace: TraceContext?) {
        record.withContents { record in
            let (proof, type, id, trace) = record.headers(PublisherKey.header, "ce_type", "ce_id", "traceparent")
            let provenance: Provenance =
                if let proof {
                    keys.publisher(proof: proof, type: type, id: id, key: record.key, value: record.value)
                        .map(Provenance.proven) ?? .forged
                } else {
                    .unsigned
                }
            return (provenance, trace.flatMap { TraceContext($0) }.map(applying))
        }
    }

    /// Whom the record names: of one whose proof was checked before, its publisher.
    public var claimedPublisher: PublisherName? {
        record.withContents { $0.header(PublisherKey.header).flatMap { PublisherKeys.claimed($0) } }
    }
}
