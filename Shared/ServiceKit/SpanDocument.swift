// Spans as the OpenTelemetry protocol has them: OTLP/HTTP, JSON encoding.
// https://opentelemetry.io/docs/specs/otlp/
import JSON
import Observability

enum SpanDocument {
    /// The body of `POST /v1/traces`.
    static func body(_ spans: [Span], service: String, instance: String) -> [UInt8] {
        var writer = JSONWriter(capacity: 512 * spans.count + 512)
        writer.object {
            $0.name("resourceSpans")
            $0.array {
                $0.object {
                    $0.name("resource")
                    $0.object {
                        write(
                            [
                                ("service.name", .text(service)), ("service.namespace", .text("stampede")),
                                ("service.version", .text(Version.current)), ("service.instance.id", .text(instance)),
                            ], to: &$0)
                    }
                    $0.name("scopeSpans")
                    $0.array {
                        $0.object {
                            $0.name("scope")
                            $0.object { $0.field("name", "stampede") }
                            $0.name("spans")
                            $0.array { for span in spans { write(span, to: &$0) } }
                        }
                    }
                }
            }
        }
        return writer.bytes
    }

    private static func write(_ span: Span, to writer: inout JSONWriter) {
        writer.object {
            $0.field("traceId", span.context.traceID)
            $0.field("spanId", span.context.spanID)
            $0.field("parentSpanId", optional: span.parent?.spanID)
            $0.field("flags", 1)
            $0.field("name", span.name)
            $0.field("kind", span.kind.rawValue)
            // 64 bits are texts in this encoding.
            $0.field("startTimeUnixNano", String(span.start))
            $0.field("endTimeUnixNano", String(span.end))
            write(span.attributes, to: &$0)
            if !span.links.isEmpty {
                $0.name("links")
                $0.array {
                    for link in span.links {
                        $0.object {
                            $0.field("traceId", link.traceID)
                            $0.field("spanId", link.spanID)
                        }
                    }
                }
            }
            if let failure = span.failure {
                $0.name("status")
                $0.object {
                    $0.field("code", 2)
                    $0.field("message", failure)
                }
            }
        }
    }

    private static func write(_ attributes: [(name: String, value: Span.Value)], to writer: inout JSONWriter) {
        writer.name("attributes")
        writer.array {
            for attribute in attributes {
                $0.object {
                    $0.field("key", attribute.name)
                    $0.name("value")
                    $0.object {
                        switch attribute.value {
                        case .text(let text): $0.field("stringValue", text)
                        case .number(let number): $0.field("intValue", String(number))
                        }
                    }
                }
            }
        }
    }
}
