import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import org.apache.flink.shaded.jackson2.com.fasterxml.jackson.databind.JsonNode;
import org.apache.flink.shaded.jackson2.com.fasterxml.jackson.databind.ObjectMapper;

/** How to walk through a record of a schema, one step a field. */
final class AvroSteps {
    /** Positive steps are so many bytes. */
    static final byte ID = -1;

    static final byte TIME_MICROS = -2;
    static final byte TIME_MILLIS = -3;
    static final byte NUMBER = -4;
    static final byte BYTES = -5;

    final byte[] steps;

    private AvroSteps(byte[] steps) {
        this.steps = steps;
    }

    /** Asks the registry, once for each schema; a registry that does not answer fails the job, which then restarts. */
    static AvroSteps fetch(String registry, int id) {
        try {
            HttpRequest request =
                    HttpRequest.newBuilder(URI.create(registry + "/schemas/ids/" + id)).build();
            HttpResponse<String> answer =
                    HttpClient.newHttpClient().send(request, HttpResponse.BodyHandlers.ofString());
            if (answer.statusCode() == 404) {
                throw new Invalid("schema id " + id + " is not in the registry");
            }
            ObjectMapper json = new ObjectMapper();
            return of(json.readTree(json.readTree(answer.body()).get("schema").asText()));
        } catch (IOException e) {
            throw new IllegalStateException("the schema registry did not answer", e);
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
            throw new IllegalStateException("interrupted", e);
        }
    }

    static AvroSteps of(JsonNode schema) {
        ByteArrayOutputStream steps = new ByteArrayOutputStream();
        boolean hasId = false;
        boolean hasTime = false;
        for (JsonNode field : schema.get("fields")) {
            String name = field.get("name").asText();
            JsonNode type = field.get("type");
            String kind = type.isTextual() ? type.asText() : type.path("type").asText();
            String logical = type.path("logicalType").asText();
            if (name.equals("message_id") && kind.equals("string")) {
                hasId = true;
                steps.write(ID);
            } else if (name.equals("event_time") && logical.equals("timestamp-micros")) {
                hasTime = true;
                steps.write(TIME_MICROS);
            } else if (name.equals("event_time") && logical.equals("timestamp-millis")) {
                hasTime = true;
                steps.write(TIME_MILLIS);
            } else {
                steps.write(
                        switch (kind) {
                            case "string", "bytes" -> BYTES;
                            case "int", "long", "enum" -> NUMBER;
                            case "boolean" -> 1;
                            case "float" -> 4;
                            case "double" -> 8;
                            default -> throw new Invalid("field " + name + " is of a type not known here");
                        });
            }
        }
        if (!hasId || !hasTime) {
            throw new Invalid("the schema has no message_id or no event_time");
        }
        return new AvroSteps(steps.toByteArray());
    }
}
