/*
 * A sensor as it is deployed (sensor-protocol.md): a spool; two connections, one up, one down; a transaction for every deposit; one
 * consumer session with two listeners, committed by a timer; everything not archived yet is sent again and again. It never gives up.
 */
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.Executors;
import java.util.concurrent.ScheduledExecutorService;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
import javax.jms.Connection;
import javax.jms.ConnectionFactory;
import javax.jms.JMSException;
import javax.jms.Message;
import javax.jms.MessageListener;
import javax.jms.MessageProducer;
import javax.jms.Session;
import javax.jms.TextMessage;

public final class Sensor {
    /* What the sensor keeps of an event until it is archived. */
    private static final class Kept {
        final String body;
        final String digest;
        final long timestamp = System.currentTimeMillis();
        long lot; // 0: not acknowledged yet

        Kept(String body, String digest) {
            this.body = body;
            this.digest = digest;
        }
    }

    private final ConnectionFactory factory;
    private final String vault;
    private final Map<String, Kept> spool = new LinkedHashMap<>();
    private final Map<String, List<Map<String, Object>>> answers = new LinkedHashMap<>(); // everything said about a ClientId
    private final List<Long> archives = new ArrayList<>();
    private final ScheduledExecutorService sending = Executors.newSingleThreadScheduledExecutor();
    private final ScheduledExecutorService committing = Executors.newSingleThreadScheduledExecutor();
    private final AtomicInteger sends = new AtomicInteger();
    private final AtomicInteger purged = new AtomicInteger(); // by an archive notice
    private final AtomicInteger failures = new AtomicInteger();
    private volatile String lastFailure;
    private volatile boolean reconnect;
    private Connection up;
    private Connection down;
    private Session reading;

    /** Vault number `vault`; sends again every `resend` ms, commits what it has read every `commit` ms. */
    public Sensor(ConnectionFactory factory, String vault, long resend, long commit) {
        this.factory = factory;
        this.vault = vault;
        sending.scheduleWithFixedDelay(this::sendAll, 0, resend, TimeUnit.MILLISECONDS);
        committing.scheduleWithFixedDelay(this::commitRead, 0, commit, TimeUnit.MILLISECONDS);
    }

    /** An event for the spool: it is delivered from there. `digest` null: the right one. */
    public void put(String clientId, String body, String digest) {
        String right = Messages.sha256(body.getBytes(java.nio.charset.StandardCharsets.UTF_8));
        synchronized (spool) {
            spool.put(clientId, new Kept(body, digest == null ? right : digest));
        }
    }

    // ---- towards the vault ----

    private void sendAll() {
        Map<String, Kept> waiting;

        synchronized (spool) {
            waiting = new LinkedHashMap<>(spool);
        }
        try {
            if (up == null)
                up = open();
            Session session = up.createSession(true, Session.AUTO_ACKNOWLEDGE);
            MessageProducer producer = session.createProducer(session.createQueue("Event." + vault + ".In"));
            for (Map.Entry<String, Kept> one : waiting.entrySet())
                send(session, producer, one.getKey(), one.getValue());
            session.close();
        } catch (JMSException | RuntimeException e) {
            failed(e);
            up = close(up);
        }
    }

    private void send(Session session, MessageProducer producer, String clientId, Kept kept) throws JMSException {
        synchronized (spool) {
            if (!spool.containsKey(clientId))
                return; // purged since
        }
        TextMessage message = session.createTextMessage(kept.body);
        message.setStringProperty("Digest", kept.digest);
        message.setStringProperty("DigestAlgo", "SHA-256");
        message.setStringProperty("ClientId", clientId);
        message.setLongProperty("Timestamp", kept.timestamp);
        producer.send(message);
        session.commit();
        sends.incrementAndGet();
    }

    // ---- from the vault ----

    private void commitRead() {
        try {
            if (reconnect) { // without a commit: what was read comes again
                reconnect = false;
                down = close(down);
            }
            if (down == null)
                listen();
            else
                reading.commit();
        } catch (JMSException | RuntimeException e) {
            failed(e);
            down = close(down);
        }
    }

    private void listen() throws JMSException {
        Connection connection = open();
        Session session = connection.createSession(true, Session.AUTO_ACKNOWLEDGE);
        session.createConsumer(session.createQueue("Event." + vault + ".Out")).setMessageListener(careful(this::event));
        session.createConsumer(session.createQueue("Archive." + vault + ".Out")).setMessageListener(careful(this::archive));
        reading = session;
        down = connection;
    }

    private interface Reader {
        void read(Message message) throws JMSException;
    }

    /* What cannot be read is logged and forgotten: the acknowledgement is lost, as with the real one. */
    private MessageListener careful(Reader reader) {
        return message -> {
            try {
                reader.read(message);
            } catch (JMSException | RuntimeException e) {
                failed(e);
            }
        };
    }

    private void event(Message message) throws JMSException {
        String clientId = message.getStringProperty("ClientId");
        long lot = message.getLongProperty("CFJLLotId"); // before the status, whatever it is
        String status = message.getStringProperty("CFJLStatus");
        Map<String, Object> said = new LinkedHashMap<>();

        said.put("status", status);
        said.put("lot", lot);
        said.put("serial", message.getStringProperty("CFJLJELSerial"));
        said.put("digest", message.getStringProperty("CFJLDigest"));
        said.put("reason", message.getStringProperty("CFJLReason"));
        synchronized (spool) {
            answers.computeIfAbsent(clientId, name -> new ArrayList<>()).add(said);
            Kept kept = spool.get(clientId);
            if (kept == null)
                return;
            if (status.equals("CFJL_OK"))
                kept.lot = lot;
            else // the vault has it already, or wants somebody to look at it: not to be sent again
                spool.remove(clientId);
        }
    }

    private void archive(Message message) throws JMSException {
        long lot = message.getLongProperty("CFJLArchId");

        message.getLongProperty("CFJLArchDate");
        synchronized (spool) {
            archives.add(lot);
            int before = spool.size();
            spool.values().removeIf(kept -> kept.lot == lot);
            purged.addAndGet(before - spool.size());
        }
    }

    // ---- both ----

    private Connection open() throws JMSException {
        Connection connection = factory.createConnection();
        connection.start();
        return connection;
    }

    private Connection close(Connection connection) {
        try {
            if (connection != null)
                connection.close();
        } catch (JMSException e) {
            failed(e);
        }
        return null;
    }

    private void failed(Exception e) {
        lastFailure = Failures.describe(e).get("chain").toString();
        failures.incrementAndGet();
    }

    /** The connection from the vault is closed, without a commit, and opened again. */
    public void reconnect() {
        reconnect = true;
    }

    public int waiting() {
        synchronized (spool) {
            return spool.size();
        }
    }

    public Map<String, Object> answers() {
        synchronized (spool) {
            return new LinkedHashMap<>(answers);
        }
    }

    public List<Long> archives() {
        synchronized (spool) {
            return new ArrayList<>(archives);
        }
    }

    public int sends() {
        return sends.get();
    }

    public int purged() {
        return purged.get();
    }

    public int failures() {
        return failures.get();
    }

    public String lastFailure() {
        return lastFailure;
    }

    /** Shutdown: what was read is committed. */
    public void stop() throws InterruptedException {
        sending.shutdown();
        committing.shutdown();
        sending.awaitTermination(60, TimeUnit.SECONDS);
        committing.awaitTermination(60, TimeUnit.SECONDS);
        try {
            if (down != null)
                reading.commit();
        } catch (JMSException e) {
            failed(e);
        }
        up = close(up);
        down = close(down);
    }
}
