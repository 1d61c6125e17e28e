import com.sun.management.OperatingSystemMXBean;
import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.lang.management.ManagementFactory;
import java.util.Arrays;
import java.util.Locale;
import java.util.concurrent.CountDownLatch;
import javax.jms.Connection;
import javax.jms.DeliveryMode;
import javax.jms.JMSException;
import javax.jms.MessageProducer;
import javax.jms.Session;
import javax.jms.TextMessage;
import org.apache.activemq.ActiveMQSslConnectionFactory;

/**
 * Load by the ActiveMQ JMS client as a sensor uses it: text messages with Digest, DigestAlgo, ClientId and Timestamp, persistent.
 *
 * <p>JmsLoad URL PKI-FOLDER PASSWORD QUEUE OPERATOR VAULT SIZE, then orders on standard input: "run THREADS BATCH SECONDS" (BATCH 0: no
 * transaction, each send waits for its answer; otherwise transactions of so many). It opens a connection for each thread, says
 * {"ready":true}, waits for "go", sends, and prints one line of JSON. One process measures several times, so that what the virtual
 * machine compiles is compiled when it counts. An error ends it with status 1: what failed is not a figure.
 */
public final class JmsLoad {
    private static final int EVENTS = 8192;
    private static final long PATIENCE_MS = 120_000; // beyond the measurement's own length

    private final ActiveMQSslConnectionFactory factory;
    private final String queue;
    private final MadeEvents events;
    private final String prefix = "BENCH:" + Long.toString(System.currentTimeMillis(), 36) + ":";
    private int runs;

    private JmsLoad(String[] words) throws Exception {
        factory = new ActiveMQSslConnectionFactory(words[0]);
        factory.setKeyStore(words[1] + "/sensor-1.p12");
        factory.setKeyStorePassword(words[2]);
        factory.setTrustStore(words[1] + "/trust.p12");
        factory.setTrustStorePassword(words[2]);
        queue = words[3];
        events = new MadeEvents(EVENTS, Integer.parseInt(words[6]), words[4], words[5]);
    }

    /** One connection with one session and one producer, used by one thread. */
    private final class Lane implements Runnable {
        private final Connection connection = factory.createConnection();
        private final Session session;
        private final MessageProducer producer;
        private final String clientId;
        private final int batch;
        private int next;
        private long[] latencies = new long[4096]; // ns, of a send or of a commit
        private int calls;
        private CountDownLatch start;
        private long until;
        private Exception failure;

        Lane(int number, int batch) throws JMSException {
            connection.start();
            session = connection.createSession(batch > 0, Session.AUTO_ACKNOWLEDGE);
            producer = session.createProducer(session.createQueue(queue));
            producer.setDeliveryMode(DeliveryMode.PERSISTENT);
            clientId = prefix + runs + ":" + number + ":";
            next = number * 127;
            this.batch = batch;
        }

        long messages() {
            return (long) calls * Math.max(1, batch);
        }

        private void send() throws JMSException {
            int i = next++ % EVENTS;
            TextMessage message = session.createTextMessage(events.bodies[i]);
            message.setStringProperty("Digest", events.digests[i]);
            message.setStringProperty("DigestAlgo", "SHA-256");
            message.setStringProperty("ClientId", clientId + next);
            message.setLongProperty("Timestamp", System.currentTimeMillis());
            producer.send(message);
        }

        private void call() throws JMSException {
            long began;
            if (batch == 0) {
                began = System.nanoTime();
                send();
            } else {
                for (int i = 0; i < batch; i++)
                    send();
                began = System.nanoTime();
                session.commit();
            }
            if (calls == latencies.length)
                latencies = Arrays.copyOf(latencies, 2 * calls);
            latencies[calls++] = System.nanoTime() - began;
        }

        @Override
        public void run() {
            try {
                start.await();
                while (System.nanoTime() - until < 0)
                    call();
            } catch (JMSException | InterruptedException | RuntimeException e) {
                failure = e;
            }
        }
    }

    private static void say(String format, Object... values) {
        System.out.println(String.format(Locale.ROOT, format, values));
        System.out.flush();
    }

    private static long processNanoseconds() {
        return ((OperatingSystemMXBean) ManagementFactory.getOperatingSystemMXBean()).getProcessCpuTime();
    }

    private void run(int threads, int batch, double seconds, BufferedReader orders) throws Exception {
        Lane[] lanes = new Lane[threads];
        Thread[] running = new Thread[threads];
        CountDownLatch start = new CountDownLatch(1);
        runs++;
        for (int i = 0; i < threads; i++) {
            lanes[i] = new Lane(i, batch);
            lanes[i].start = start;
            running[i] = new Thread(lanes[i], "lane " + i);
            running[i].setDaemon(true);
            running[i].start();
        }
        say("{\"ready\":true}");
        if (!"go".equals(orders.readLine()))
            throw new IllegalStateException("go was expected");
        long cpu = processNanoseconds(), began = System.nanoTime();
        for (Lane lane : lanes)
            lane.until = began + (long) (seconds * 1e9);
        start.countDown();
        long patience = System.currentTimeMillis() + (long) (seconds * 1000) + PATIENCE_MS;
        for (Thread t : running) {
            t.join(Math.max(1, patience - System.currentTimeMillis()));
            if (t.isAlive())
                throw new IllegalStateException("a send or commit was not answered within " + PATIENCE_MS / 1000 + " s");
        }
        report(lanes, (System.nanoTime() - began) / 1e9, (processNanoseconds() - cpu) / 1e3);
        for (Lane lane : lanes)
            lane.connection.close();
    }

    private static void report(Lane[] lanes, double seconds, double cpuMicroseconds) throws Exception {
        long messages = 0;
        int calls = 0;
        for (Lane lane : lanes) {
            if (lane.failure != null)
                throw lane.failure;
            messages += lane.messages();
            calls += lane.calls;
        }
        long[] all = new long[calls];
        int filled = 0;
        for (Lane lane : lanes) {
            System.arraycopy(lane.latencies, 0, all, filled, lane.calls);
            filled += lane.calls;
        }
        Arrays.sort(all);
        say("{\"messages\":%d,\"seconds\":%.3f,\"perSecond\":%.1f,\"p50ms\":%.4f,\"p99ms\":%.4f,\"maxms\":%.3f,\"clientCpuMicroseconds\":%.2f}",
            messages, seconds, messages / seconds, at(all, 0.5), at(all, 0.99), at(all, 1), cpuMicroseconds / Math.max(1, messages));
    }

    private static double at(long[] sorted, double part) {
        return sorted.length == 0 ? 0 : sorted[(int) Math.min(sorted.length - 1, Math.floor(part * sorted.length))] / 1e6;
    }

    public static void main(String[] words) {
        try {
            JmsLoad load = new JmsLoad(words);
            BufferedReader orders = new BufferedReader(new InputStreamReader(System.in));
            for (String order = orders.readLine(); order != null; order = orders.readLine()) {
                String[] w = order.trim().split(" ");
                if (w.length != 4 || !w[0].equals("run"))
                    throw new IllegalArgumentException("not an order: " + order);
                load.run(Integer.parseInt(w[1]), Integer.parseInt(w[2]), Double.parseDouble(w[3]), orders);
            }
            System.exit(0); // the client's own threads may still run
        } catch (Exception e) {
            say("{\"error\":\"%s\"}", String.valueOf(e).replaceAll("[\"\\\\\\p{Cntrl}]", " "));
            e.printStackTrace();
            System.exit(1);
        }
    }
}
