// The bodies that brands send. A member that is not known is refused: misspelt, it would change what is sold.
import JSON
import Models

extension ProductPlan {
    init(json: JSONValue) throws(JSONError) {
        try json.onlyMembers(["name", "variants"])
        self.init(
            name: try json.localizedText("name"),
            variants: try json.list("variants", countMax: Product.variantsMax) { (variant) throws(JSONError) in
                try variant.onlyMembers(["code", "title"])
                return try Product.Variant(json: variant)
            })
    }
}

extension SalePlan {
    init(json: JSONValue) throws(JSONError) {
        try json.onlyMembers(["productId", "title", "holdSeconds", "waitlistMax", "batches"])
        self.init(
            productId: try json.identifier("productId"), title: try json.localizedText("title"),
            holdSeconds: try json.integer("holdSeconds", in: 1...Sale.holdSecondsMax),
            waitlistMax: try json.integer("waitlistMax", in: 0...Sale.waitlistLimit),
            batches: try json.list("batches", countMax: Sale.batchesMax, Self.batch))
    }

    private static func batch(_ json: JSONValue) throws(JSONError) -> Sale.Batch {
        try json.onlyMembers(["number", "opensAt", "closesAt", "lines"])
        _ = try json.list("lines", countMax: Product.variantsMax) { (line) throws(JSONError) in
            try line.onlyMembers(["variant", "units", "price"])
            try line.read("price") { (price) throws(JSONError) in try price.onlyMembers(["amount", "currency"]) }
        }
        return try Sale.Batch(json: json)
    }
}
