// Passwords inside of DSNs, which no log may show.
import Testing

@testable import Postgres

@Suite struct DSNPasswordTests {
    @Test(arguments: [
        ("postgresql://user:pass%20word@host:5432/db?sslmode=require", ["pass%20word", "pass word"]),
        ("postgresql://user@host/db", []), ("postgresql:///db", []), ("postgresql://user:@host/db", []),
        ("host=h password=secret user=u", ["secret"]), ("password = 'two words' host=h", ["two words"]),
        ("postgresql://host/db?user=u&password=inquery&sslmode=prefer", ["inquery"]),
        ("postgresql://host/db?user=u&p%61ssword=in%71uery", ["inquery", "in%71uery"]),
        (#"password = 'a\'b' user=u"#, ["a'b", #"a\'b"#]), (#"password=a\ b\\c host=h"#, [#"a b\c"#, #"a\ b\\c"#]),
        ("password='' host=h", []), ("host=h password=%41%42", ["%41%42"]),
        ("postgresql://u:%70%61%73%73@h/db", ["pass", "%70%61%73%73"]),
        ("postgresql://u:p%25a@h/db", ["p%a", "p%25a"]),
        ("postgresql://u:first@h/db?password=second", ["second"]), ("password=one password=two", ["two"]),
        ("postgresql://u:p:q@h/db", ["p:q"]), ("postgresql://u:p%40ss%2Fw%3F@h/db", ["p@ss/w?", "p%40ss%2Fw%3F"]),
        ("postgresql://u:é%C3%A9@h/db", ["éé", "é%C3%A9"]),
        ("postgresql://u:secret@h1:1,h2:2,[::1]:3/db", ["secret"]),
        ("host=h sslpassword='of the key' password=other", ["of the key", "other"]),
        ("host=h user=secret password=secret", ["secret"]),
    ])
    func thePasswordIsKnownDecodedAndAsItIsWritten(dsn: String, passwords: [String]) {
        #expect(Set(DSN.passwords(in: dsn)) == Set(passwords))
    }

    /// libpq ends the password at the first @ and takes the rest for the host's name, which logs show.
    @Test(arguments: ["postgres://user:p@ss@host/db", "postgresql://user:p@ss@host:5432,other/db?sslmode=prefer"])
    func anAtSignInAPasswordIsRefusedAndNotShown(dsn: String) {
        #expect(DSN.passwords(in: dsn).contains("p@ss"))
        let error = #expect(throws: PostgresError.self) {
            try ConnectionSettings(dsn: dsn, applicationName: "test", options: PostgresOptions())
        }
        #expect(error?.description.contains("%40") == true)
        #expect(error?.description.contains("ss@") == false)
    }

    @Test(arguments: [
        "", "open sesame", "password", "password=", "password='open", "postgresql://u:p%4@h/db",
        "postgresql://u:p%00@h/db",
        "postgresql://u:p@h/db?unknown=x", "postgresql://u:p@[::1", "password = 'a\\", "%", "=", "\u{0}",
        String(repeating: "password=a ", count: 1000),
    ])
    func whatIsNoDSNBreaksNothing(text: String) {
        for password in DSN.passwords(in: text) { #expect(!password.isEmpty && text.contains(password)) }
    }
}
