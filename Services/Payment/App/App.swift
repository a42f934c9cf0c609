import PaymentCore
import ServiceKit

@main
struct App {
    static func main() async { await Program.run(PaymentService.self) }
}
