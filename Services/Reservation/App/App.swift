import ReservationCore
import ServiceKit

@main
struct App {
    static func main() async { await Program.run(ReservationService.self) }
}
