// Which Stampede this is.

public enum Version {
    /// Follows semantic versioning; CHANGELOG.md says what each brought.
    public static let current = "0.1.0"
}
