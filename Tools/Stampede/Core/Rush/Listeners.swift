// A sample of the buyers holds a live connection open, as phones with the chat on the screen do.
import Foundation
import HTTP
import JSON
import Models

struct Listeners: Sendable {
    let api: APIClient
    let market: Market
    let count: Int

    /// Until the task is cancelled. The order's first decision seen by its buyer counts.
    func listen(into journal: Journal) async {
        let isLocal = LoopbackAddress.reaches(URLComponents(string: api.baseURL)?.host ?? "")
        let stride = max(1, market.buyers.count / max(1, count))
        await withTaskGroup(of: Void.self) { group in
            for buyer in Swift.stride(from: 0, to: market.buyers.count, by: stride).prefix(count) {
                let token = String(decoding: market.tokens[buyer], as: UTF8.self)
                var request = ClientRequest(
                    .get, "\(api.baseURL)/v1/events", headers: [("Authorization", "Bearer \(token)")],
                    timeoutSeconds: 3600)
                if isLocal { request.localAddress = LoopbackAddress.client(buyer) }
                group.addTask { [request] in
                    do {
                        for try await event in api.client.events(request) where event.event == "order" {
                            guard Self.isDecision(event.data) else { continue }
                            journal.record([.seenLive(order: buyer)], at: WallClock.now())
                        }
                    } catch {
                        journal.lostListener()
                    }
                }
            }
        }
    }

    private static func isDecision(_ data: String) -> Bool {
        let status = try? JSONParser.parse(Array(data.utf8)) { (json) throws(JSONError) in
            try json.string("status", bytesMax: 64)
        }
        return status != nil && status != "accepted"
    }
}
