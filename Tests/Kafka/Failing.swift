// Requests to the embedded broker that fail until that has shown.
import Kafka
import TestSupport

extension TestBroker {
    /// Lets requests fail until that has shown. Librdkafka's cluster may lose an error that it is told of in the moment
    /// in which such a request arrives.
    func fail(_ request: EmbeddedBroker.Request, with error: Int32, until hasShown: () -> Bool) async {
        while !hasShown(), !Task.isCancelled {
            embedded?.stopFailing(request)
            embedded?.failRequests(request, with: [error])
            try? await Task.sleep(for: .seconds(1))
        }
        embedded?.stopFailing(request)
    }
}
