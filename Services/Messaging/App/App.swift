import MessagingCore
import ServiceKit

@main
struct App {
    static func main() async { await Program.run(MessagingService.self) }
}
