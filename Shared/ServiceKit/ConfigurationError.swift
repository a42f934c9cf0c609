// What is wrong with a configuration.

/// Every problem found, each a line that names the variable and what it should be; secrets are not quoted.
public struct ConfigurationError: Error, Sendable, Equatable, CustomStringConvertible {
    public let problems: [String]

    public init(_ problems: [String]) { self.problems = problems }

    public var description: String { problems.joined(separator: "\n") }
}
