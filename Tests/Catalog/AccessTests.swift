// Whom a service that verifies tokens believes: what stands in the topic `keys` only where its root key proves it.
import CatalogCore
import Models
import Security
import TestSupport
import Testing

@Suite(.timeLimit(.minutes(2))) struct AccessTests {
    /// A session whose end the service knows, so that it knows what was published before, too.
    private func readSoFar(_ service: TestService<CatalogService>) async throws {
        let session = SessionID.random()
        let token = try service.token(.brand, session: session)
        #expect(try await service.call(.get, "/v1/products", token: token).status == 200)
        try await service.end(session)
        while try await service.call(.get, "/v1/products", token: token).status == 200 {
            try await Task.sleep(for: .milliseconds(10))
        }
    }

    @Test func aKeyWithoutTheRootsProofOpensNothing() async throws {
        let service = try await TestService.start(CatalogService.self)
        let stranger = try #require(RootSecret("the root secret of somebody else, who has one too"))
        let forged = try SigningKey.generate()
        let itself = VerificationKey(keyId: forged.keyID, jwk: forged.publicJWK, notAfter: .distantFuture)
        // A proof of another key, of other words, of nobody.
        let other = VerificationKey(keyId: forged.keyID, jwk: forged.publicJWK, notAfter: .now())
        let proofs = [
            nil, "", "x", stranger.proof(of: itself.provenBytes), try TestRoot.secret().proof(of: other.provenBytes),
        ]
        for proof in proofs {
            try await service.publish(forged, proof: proof)
            try await readSoFar(service)
            for kind in AccountKind.allCases {
                let token = try service.token(kind, signedBy: forged)
                #expect(try await service.call(.get, "/v1/products", token: token).status == 401, "\(proof ?? "none")")
            }
        }
        // The same key with its proof does.
        try await service.publish(forged, proof: try TestRoot.secret().proof(of: itself.provenBytes))
        try await readSoFar(service)
        let token = try service.token(.brand, signedBy: forged)
        #expect(try await service.call(.get, "/v1/products", token: token).status == 200)
        await service.stop()
    }

    @Test func anEndedSessionsTokensAreRefusedAlsoAfterARestartAndNobodyElseEndsOne() async throws {
        let service = try await TestService.start(CatalogService.self)
        let (ended, other) = (SessionID.random(), SessionID.random())
        let tokens = try [ended, other].map { try service.token(.brand, session: $0) }
        for token in tokens { #expect(try await service.call(.get, "/v1/products", token: token).status == 200) }
        try await service.end(ended)
        try await service.end(other, isProven: false)
        for _ in 0..<2 {
            try await readSoFar(service)
            let answer = try await service.call(.get, "/v1/products", token: tokens[0])
            #expect(answer.status == 401)
            #expect(answer["detail"]?.string?.contains("its session has ended") == true)
            #expect(try await service.call(.get, "/v1/products", token: tokens[1]).status == 200)
            try await service.restart()
        }
        await service.stop()
    }
}
