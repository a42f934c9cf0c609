// The executable `payment`; what it is made of stands in Services/Payment/Core/PaymentService.swift.
import PaymentCore
import ServiceKit

@main
struct App {
    static func main() async { await Program.run(PaymentService.self) }
}
