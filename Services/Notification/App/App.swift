// The executable `notification`; what it is made of stands in Services/Notification/Core/NotificationService.swift.
import NotificationCore
import ServiceKit

@main
struct App {
    static func main() async { await Program.run(NotificationService.self) }
}
