// A video from a service, over HTTP, in Kotlin: ask, wait, save. Needs OkHttp and org.json, as Android has them.

import java.io.IOException
import java.util.UUID
import kotlinx.coroutines.Dispatchers
import kotlinx.coroutines.delay
import kotlinx.coroutines.withContext
import okhttp3.MediaType.Companion.toMediaType
import okhttp3.OkHttpClient
import okhttp3.Request
import okhttp3.RequestBody.Companion.toRequestBody
import org.json.JSONObject

class Problem(val code: String, detail: String) : IOException(detail)

class Zoetrope(private val base: String, private val token: suspend () -> String) {
    private val http = OkHttpClient()

    /** The finished file. Throws Problem as the service refuses; cancelled with its coroutine. */
    suspend fun video(prompt: String, seed: Long? = null, key: String = UUID.randomUUID().toString()): ByteArray {
        val body = JSONObject().put("prompt", prompt)
        if (seed != null) body.put("seed", seed)
        // The same key on every try makes one job of them all.
        val post = Request.Builder().url("$base/v1/videos").header("Idempotency-Key", key)
            .post(body.toString().toRequestBody("application/json".toMediaType()))
        var job = send(post)
        while (job.getString("status") !in setOf("completed", "failed", "cancelled", "expired")) {
            delay(2_000)
            job = send(Request.Builder().url(job.getJSONObject("urls").getString("self")))
        }
        val output = job.getJSONArray("outputs").optJSONObject(0) ?: throw problemOf(job.optJSONObject("error"), job)
        // Its address is signed and wants no token.
        return bytes(Request.Builder().url(output.getString("url")).build())
    }

    private suspend fun send(request: Request.Builder): JSONObject =
        JSONObject(String(bytes(request.header("Authorization", "Bearer ${token()}").build())))

    private suspend fun bytes(request: Request): ByteArray = withContext(Dispatchers.IO) {
        http.newCall(request).execute().use { answer ->
            val bytes = answer.body?.bytes() ?: ByteArray(0)
            if (!answer.isSuccessful) throw problemOf(JSONObject(String(bytes)), null)
            bytes
        }
    }

    private fun problemOf(error: JSONObject?, job: JSONObject?) = Problem(
        error?.optString("code") ?: job?.optString("status").orEmpty(),
        error?.optString("detail") ?: "the job ended as ${job?.optString("status")}",
    )
}
