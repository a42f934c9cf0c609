// The executable `reservation`; what it is made of stands in Services/Reservation/Core/ReservationService.swift.
import ReservationCore
import ServiceKit

@main
struct App {
    static func main() async { await Program.run(ReservationService.self) }
}
