// What a rush is to do.

struct RushPlan: Sendable {
    enum Via: String, CaseIterable, Sendable { case http, kafka }

    var orders: Int
    var units: Int
    var via: Via
    /// Of each variant of the batch.
    var waitlistMax: Int
    var holdSeconds: Int
    /// Of a thousand buyers so many have too little money.
    var poorPerMille: Int
    /// Buyers who hold a live connection open.
    var listeners: Int
    var connections: Int
    var threads: Int
    /// Between the end of the preparation and noon.
    var noonSeconds: Int
    /// Published orders that may be undecided or unread by a service; nil: as many as there are.
    var inFlightMax: Int?
    /// From noon.
    var timeoutSeconds: Int
    /// Orders a second (http only); nil: as fast as they are answered.
    var rate: Int?
    /// How often an order is sent that is told to come again (http only).
    var attemptsMax = 30

    static let priceMinorUnits: Int64 = 199_900
    static let variant = "mi3-silver-16"

    func isPoor(_ buyer: Int) -> Bool {
        // Spread over all of them by a multiplicative hash, the same in every run.
        (buyer &* 2_654_435_761) & 0xffff_ffff % 1000 < poorPerMille
    }
}
