// Posts one event with the JDK alone: java Notify USER TITLE

import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpRequest.BodyPublishers;
import java.net.http.HttpResponse.BodyHandlers;
import java.time.Duration;
import java.util.UUID;

public class Notify {
    static final int ATTEMPTS = 5;
    static final long FIRST_WAIT_MS = 1000, LONGEST_WAIT_MS = 60_000;

    public static void main(String[] arguments) throws Exception {
        var event = """
            {"type": "notification.requested", "tenantId": 1, "userId": %d, "notificationType": "report_ready",
             "priority": "MEDIUM", "title": %s}
            """.formatted(Long.parseLong(arguments[0]), quoted(arguments[1]));
        var request = HttpRequest.newBuilder(URI.create(System.getenv("DJACTORS_URL") + "/api/events"))
            .header("Authorization", "Bearer " + System.getenv("DJACTORS_TOKEN"))
            .header("Content-Type", "application/json")
            // Each attempt has the same key, so that the event is recorded once, whichever answer was lost.
            .header("Idempotency-Key", UUID.randomUUID().toString())
            .timeout(Duration.ofSeconds(10))
            .POST(BodyPublishers.ofString(event))
            .build();
        System.out.println(send(HttpClient.newHttpClient(), request));
    }

    /** The answer's body. Only what a repetition can mend is repeated: a lost connection, 429, and 502 to 504. */
    static String send(HttpClient client, HttpRequest request) throws Exception {
        for (var attempt = 1; ; attempt++) {
            String failure;
            var wait = FIRST_WAIT_MS << (attempt - 1);
            try {
                var answer = client.send(request, BodyHandlers.ofString());
                var status = answer.statusCode();
                if (status < 300) return answer.body();
                failure = status + " " + answer.body();
                if (status != 429 && (status < 502 || status > 504)) throw new IllegalStateException(failure);
                // The server knows when it has room again.
                var asked = answer.headers().firstValue("Retry-After").filter(text -> text.matches("[0-9]{1,6}"));
                wait = Math.max(wait, asked.map(text -> Long.parseLong(text) * 1000).orElse(0L));
            } catch (java.io.IOException lost) {
                failure = lost.toString();
            }
            if (attempt == ATTEMPTS || wait > LONGEST_WAIT_MS) throw new IllegalStateException(failure);
            Thread.sleep(wait);
        }
    }

    /** A text as JSON. An application has a library for that. */
    static String quoted(String text) {
        var json = new StringBuilder("\"");
        for (var c : text.toCharArray()) {
            json.append(c < ' ' || c == '"' || c == '\\' ? "\\u%04x".formatted((int) c) : c);
        }
        return json.append('"').toString();
    }
}
