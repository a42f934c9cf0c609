// Who published a record, as far as it proves that.
import Kafka
import Models
import Security

public enum Provenance: Sendable, Equatable {
    /// The record names nobody.
    case unsigned
    case proven(PublisherName)
    /// It names somebody who did not publish it.
    case forged
}

extension Incoming {
    public func provenance(_ keys: PublisherKeys) -> Provenance {
        guard let proof = record.header(PublisherKey.header) else { return .unsigned }
        let publisher = keys.publisher(
            proof: proof, type: record.eventType, id: record.eventID, key: record.key,
            value: record.value)
        return publisher.map(Provenance.proven) ?? .forged
    }

    /// Whom the record names: of one whose proof was checked before, its publisher.
    public var claimedPublisher: PublisherName? {
        record.header(PublisherKey.header).flatMap { PublisherKeys.claimed($0) }
    }
}
