// A video from a service, over HTTP, in Swift: ask, wait, save. No package is needed.

import Foundation

struct Output: Decodable { let url: URL; let sha256: String }
struct Problem: Decodable, Error { let code: String; let detail: String }
struct Job: Decodable {
    struct Addresses: Decodable { let `self`: URL }
    let id: String
    let status: String
    let outputs: [Output]
    let error: Problem?
    let urls: Addresses
}

struct Zoetrope {
    let base: URL
    let token: () async throws -> String

    /// The finished file. Throws Problem as the service refuses, and CancellationError with its task.
    func video(prompt: String, seed: UInt32? = nil, key: String = UUID().uuidString) async throws -> Data {
        var body: [String: Any] = ["prompt": prompt]
        if let seed { body["seed"] = seed }
        var post = URLRequest(url: base.appendingPathComponent("v1/videos"))
        post.httpMethod = "POST"
        post.httpBody = try JSONSerialization.data(withJSONObject: body)
        post.setValue("application/json", forHTTPHeaderField: "Content-Type")
        // The same key on every try makes one job of them all.
        post.setValue(key, forHTTPHeaderField: "Idempotency-Key")
        var job = try await send(post)
        while !["completed", "failed", "cancelled", "expired"].contains(job.status) {
            try await Task.sleep(nanoseconds: 2_000_000_000)
            job = try await send(URLRequest(url: job.urls.`self`))
        }
        guard let output = job.outputs.first else {
            throw job.error ?? Problem(code: job.status, detail: "the job ended as \(job.status)")
        }
        return try await URLSession.shared.data(from: output.url).0
    }

    private func send(_ request: URLRequest) async throws -> Job {
        var request = request
        request.setValue("Bearer \(try await token())", forHTTPHeaderField: "Authorization")
        let (data, response) = try await URLSession.shared.data(for: request)
        let decoder = JSONDecoder()
        guard (response as? HTTPURLResponse)?.statusCode ?? 500 < 300 else {
            throw try decoder.decode(Problem.self, from: data)
        }
        return try decoder.decode(Job.self, from: data)
    }
}
