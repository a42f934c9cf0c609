import NotificationCore
import ServiceKit

@main
struct App {
    static func main() async { await Program.run(NotificationService.self) }
}
