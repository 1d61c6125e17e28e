/*
 * Deposits made and messages told in one call each, where the JMS calls one by one would be many.
 */
import java.nio.charset.StandardCharsets;
import java.security.MessageDigest;
import java.util.ArrayList;
import java.util.Enumeration;
import java.util.HexFormat;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import javax.jms.BytesMessage;
import javax.jms.Destination;
import javax.jms.JMSException;
import javax.jms.Message;
import javax.jms.MessageConsumer;
import javax.jms.Session;
import javax.jms.TextMessage;

public final class Messages {
    private Messages() {
    }

    public static String sha256(byte[] body) {
        try {
            return HexFormat.of().formatHex(MessageDigest.getInstance("SHA-256").digest(body));
        } catch (java.security.NoSuchAlgorithmException e) {
            throw new IllegalStateException(e);
        }
    }

    /** A deposit as sensors send it: a text message with its four properties. */
    public static TextMessage deposit(Session session, String body, String clientId) throws JMSException {
        TextMessage message = session.createTextMessage(body);
        properties(message, body.getBytes(StandardCharsets.UTF_8), clientId);
        return message;
    }

    /** The same as a bytes message. */
    public static BytesMessage depositBytes(Session session, byte[] body, String clientId) throws JMSException {
        BytesMessage message = session.createBytesMessage();
        message.writeBytes(body);
        properties(message, body, clientId);
        return message;
    }

    /** A deposit of so many blanks, as text or as bytes. */
    public static Message large(Session session, int size, boolean bytes) throws JMSException {
        if (bytes)
            return depositBytes(session, new byte[size], "large");
        return deposit(session, " ".repeat(size), "large");
    }

    private static void properties(Message message, byte[] body, String clientId) throws JMSException {
        message.setStringProperty("Digest", sha256(body));
        message.setStringProperty("DigestAlgo", "SHA-256");
        message.setStringProperty("ClientId", clientId);
        message.setLongProperty("Timestamp", System.currentTimeMillis());
    }

    /** Everything about a message; of each property its Java class too, "Long 5". null for null. */
    public static Map<String, Object> tell(Message message) throws JMSException {
        if (message == null)
            return null;
        Map<String, Object> told = new LinkedHashMap<>();

        told.put("class", message.getClass().getSimpleName());
        told.put("id", message.getJMSMessageID());
        told.put("correlation", message.getJMSCorrelationID());
        told.put("redelivered", message.getJMSRedelivered());
        told.put("mode", message.getJMSDeliveryMode());
        told.put("timestamp", message.getJMSTimestamp());
        told.put("expiration", message.getJMSExpiration());
        told.put("type", message.getJMSType());
        told.put("destination", text(message.getJMSDestination()));
        told.put("body", body(message));
        told.put("count", message.getObjectProperty("JMSXDeliveryCount"));
        told.put("properties", told(message, false));
        told.put("types", told(message, true));
        return told;
    }

    private static String text(Destination destination) {
        return destination == null ? null : destination.toString();
    }

    private static Object body(Message message) throws JMSException {
        if (message instanceof TextMessage text)
            return text.getText();
        if (message instanceof BytesMessage bytes) {
            byte[] content = new byte[(int) bytes.getBodyLength()];
            bytes.readBytes(content);
            return content;
        }
        return null;
    }

    private static Map<String, Object> told(Message message, boolean types) throws JMSException {
        Map<String, Object> all = new LinkedHashMap<>();
        Enumeration<?> names = message.getPropertyNames();

        while (names.hasMoreElements()) {
            String name = (String) names.nextElement();
            Object value = message.getObjectProperty(name);
            all.put(name, !types ? value : value == null ? "null" : value.getClass().getSimpleName());
        }
        return all;
    }

    /** Receives until there are `count` messages, or none has come for `quiet` ms. */
    public static List<Message> receive(MessageConsumer consumer, int count, long quiet) throws JMSException {
        List<Message> got = new ArrayList<>();

        while (got.size() < count) {
            Message one = consumer.receive(quiet);
            if (one == null)
                break;
            got.add(one);
        }
        return got;
    }

    public static List<Map<String, Object>> tellAll(List<Message> messages) throws JMSException {
        List<Map<String, Object>> all = new ArrayList<>();
        for (Message one : messages)
            all.add(tell(one));
        return all;
    }
}
