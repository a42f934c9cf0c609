// The executable `messaging`; what it is made of stands in Services/Messaging/Core/MessagingService.swift.
import MessagingCore
import ServiceKit

@main
struct App {
    static func main() async { await Program.run(MessagingService.self) }
}
