// swift-tools-version: 6.2
// Every target of Stampede, stamped by the helper functions at the end. Data flows one way: Services -> EventPipeline ->
// ServiceKit -> HTTP, Kafka, Postgres, Security -> Observability, Models -> JSON, ICU -> C.
import PackageDescription

/// Warnings are errors in CI; the language mode is Swift 6 everywhere.
let settings: [SwiftSetting] = [
    .enableUpcomingFeature("ExistentialAny"),
    // Generic code of the shared modules is specialised where the services use it.
    .unsafeFlags(["-cross-module-optimization"], .when(configuration: .release)),
]

let package = Package(
    name: "stampede",
    products: [
        .executable(name: "messaging", targets: ["MessagingApp"]),
        .executable(name: "catalog", targets: ["CatalogApp"]),
        .executable(name: "reservation", targets: ["ReservationApp"]),
        .executable(name: "payment", targets: ["PaymentApp"]),
        .executable(name: "notification", targets: ["NotificationApp"]),
        .executable(name: "stampede", targets: ["StampedeApp"]),
    ],
    targets: [
        // C libraries of the system
        c("CRdKafka", pkgConfig: "rdkafka", debian: "librdkafka-dev"),
        c("CLibPQ", pkgConfig: "libpq", debian: "libpq-dev"),
        c("CMicroHTTPD", pkgConfig: "libmicrohttpd", debian: "libmicrohttpd-dev"),
        c("CCurl", pkgConfig: "libcurl", debian: "libcurl4-openssl-dev"),
        c("CSodium", pkgConfig: "libsodium", debian: "libsodium-dev"),
        c("CCJose", pkgConfig: "cjose", debian: "libcjose-dev"),
        // glibc's allocator: part of every Linux, and not of Swift's Glibc module
        .systemLibrary(name: "CMalloc", path: "Shared/C/CMalloc"),
        // epoll and eventfd: the same
        .systemLibrary(name: "CLinux", path: "Shared/C/CLinux"),
        .target(
            name: "CJSON", path: "Shared/C/CJSON",
            cxxSettings: [.unsafeFlags(["-O2"], .when(configuration: .debug))]),

        // ICU: Debian's libicu-dev, whose messages with named arguments are for C++ alone
        .target(
            name: "CICU", path: "Shared/C/CICU",
            linkerSettings: [.linkedLibrary("icui18n"), .linkedLibrary("icuuc")]),

        // Shared
        shared("Runtime", ["CLinux"]),
        shared("JSON", ["CJSON"]),
        shared("ICU", ["CICU"]),
        shared("Observability"),
        shared("Models", ["ICU", "JSON"]),
        shared("Kafka", ["CRdKafka", "Observability", "Runtime"]),
        shared("Postgres", ["CLibPQ", "Observability", "Models", "Runtime"]),
        shared("HTTP", ["CMicroHTTPD", "CCurl", "Observability", "JSON", "Runtime"]),
        shared("Security", ["CSodium", "CCJose", "JSON", "Models"]),
        shared(
            "ServiceKit",
            ["CMalloc", "HTTP", "Kafka", "Postgres", "Security", "Observability", "Models", "JSON", "Runtime"]),
        shared(
            "EventPipeline",
            ["ServiceKit", "HTTP", "Kafka", "Postgres", "Security", "Models", "JSON", "Observability", "Runtime"]),

        // Tests of Shared
        tests("Runtime", ["Runtime"]),
        tests("JSON", ["JSON"]),
        tests("ICU", ["ICU"]),
        tests("Observability", ["Observability"]),
        tests("Models", ["Models", "JSON"]),
        tests("Kafka", ["Kafka"]),
        tests("Postgres", ["Postgres", "Models", "Runtime"]),
        tests("HTTP", ["HTTP", "JSON", "Observability", "Runtime"]),
        tests("Security", ["Security", "Models"]),
        tests(
            "ServiceKit", ["ServiceKit", "HTTP", "Kafka", "Postgres", "Security", "Observability", "Models", "JSON"]),
        // A service that can be made to hang, for tests of signals
        .executableTarget(
            name: "ServiceKitProbe", dependencies: ["ServiceKit", "HTTP"], path: "Tests/ServiceKitProbe",
            swiftSettings: settings),
        tests("EventPipeline", ["EventPipeline", "EventPipelineProbe", "ServiceKit", "Models", "Kafka", "Postgres"]),
        // A service of one processor, to be killed
        .executableTarget(
            name: "EventPipelineProbe", dependencies: ["EventPipeline", "ServiceKit", "Models", "JSON", "Postgres"],
            path: "Tests/EventPipelineProbe", swiftSettings: settings),
        .target(
            name: "TestSupport",
            dependencies: ["Models", "JSON", "Kafka", "Postgres", "HTTP", "Security", "ServiceKit", "Observability"],
            path: "Tests/TestSupport", swiftSettings: settings),
    ]
        + service(
            "Messaging",
            sql: [
                "0001_create.sql", "Conversations/0002_order_place.sql", "Identity/0004_account_revision.sql",
                "Identity/0005_identity.sql", "Conversations/0007_read.sql", "0008_audit_views.sql",
            ])
        + service(
            "Catalog",
            sql: [
                "0001_create.sql", "Sales/0003_plain_codes.sql", "Availability/0004_line_revision.sql",
                "0006_audit_views.sql",
            ])
        + service(
            "Reservation",
            sql: [
                "0001_stock_and_orders.sql", "Decisions/0002_decisions.sql", "Stock/0003_keeper.sql",
                "0005_returns.sql", "Decisions/0006_publishers.sql", "0007_audit_views.sql",
            ])
        + service(
            "Payment",
            sql: [
                "0001_create.sql", "Payments/0002_order_revision.sql", "Ledger/0004_exact_sums_contract.sql",
                "Wallets/0005_publishers.sql", "0006_audit_views.sql",
            ])
        + service(
            "Notification",
            sql: [
                "Notifications/0001_create.sql", "Notifications/0002_order_revision.sql",
                "Readers/0003_reader_revision.sql", "Notifications/0004_forgetting.sql", "0005_audit_views.sql",
            ], plugins: ["EmbedTexts"], excluding: ["Templates/Texts"])
        + [
            // The operator's command
            .target(
                name: "StampedeCore",
                dependencies: [
                    "Models", "JSON", "Kafka", "Postgres", "HTTP", "EventPipeline", "ServiceKit", "Security",
                ],
                path: "Tools/Stampede/Core", resources: [.embedInCode("Capacity/costs.json")], swiftSettings: settings),
            .executableTarget(
                name: "StampedeApp", dependencies: ["StampedeCore"], path: "Tools/Stampede/App",
                swiftSettings: settings),
            tests("Stampede", ["StampedeCore", "Models", "Kafka", "Postgres", "HTTP", "Security"]),
            tests(
                "EndToEnd",
                [
                    "StampedeCore", "Models", "Kafka", "Postgres", "HTTP", "JSON", "ServiceKit", "Security",
                    "Observability",
                    "MessagingCore", "CatalogCore", "ReservationCore", "PaymentCore", "NotificationCore",
                ]),
            tests("Deploy", ["StampedeCore"]),
            // What CONTRIBUTING.md shows
            .testTarget(
                name: "ExampleTests",
                dependencies: ["ServiceKit", "Postgres", "HTTP", "JSON", "Kafka", "Models", "Security", "TestSupport"],
                path: "Tests/Example", resources: [.embedInCode("Wishes/0001_wishes.sql")], swiftSettings: settings),
            tests("Tidy"),
            // Makes Swift of a service's texts
            .plugin(name: "EmbedTexts", capability: .buildTool(), path: "Tools/EmbedTexts"),
        ],
    swiftLanguageModes: [.v6],
    cxxLanguageStandard: .cxx17
)

/// A C library that Debian packages, as a module.
func c(_ name: String, pkgConfig: String, debian: String) -> Target {
    .systemLibrary(name: name, path: "Shared/C/\(name)", pkgConfig: pkgConfig, providers: [.apt([debian])])
}

/// A module that every service may use.
func shared(_ name: String, _ dependencies: [Target.Dependency] = []) -> Target {
    .target(name: name, dependencies: dependencies, path: "Shared/\(name)", swiftSettings: settings)
}

/// A service: its core, which tests can start, its executable of a few lines, and its tests.
/// - Parameter sql: its migrations, by their paths in `Core`.
func service(
    _ name: String, sql: [String], plugins: [Target.PluginUsage] = [], excluding: [String] = []
) -> [Target] {
    let core = Target.Dependency(stringLiteral: "\(name)Core")
    let kit: [Target.Dependency] = [
        "Models", "JSON", "Kafka", "Postgres", "HTTP", "Security", "Observability", "ServiceKit", "EventPipeline",
        "Runtime", "ICU",
    ]
    return [
        .target(
            name: "\(name)Core", dependencies: kit, path: "Services/\(name)/Core", exclude: excluding,
            resources: sql.map { .embedInCode($0) }, swiftSettings: settings, plugins: plugins),
        .executableTarget(
            name: "\(name)App", dependencies: [core, "ServiceKit"], path: "Services/\(name)/App",
            swiftSettings: settings),
        tests(name, [core] + kit),
    ]
}

/// The tests of one module, in `Tests/<name>`.
func tests(_ name: String, _ dependencies: [Target.Dependency] = []) -> Target {
    .testTarget(
        name: "\(name)Tests", dependencies: dependencies + (name == "Tidy" ? [] : ["TestSupport"]),
        path: "Tests/\(name)", swiftSettings: settings)
}
