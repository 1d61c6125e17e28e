/*
 * Many deposits at once: several threads, each with a session and a producer of its own, on one connection.
 */
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import javax.jms.Connection;
import javax.jms.DeliveryMode;
import javax.jms.JMSException;
import javax.jms.MessageProducer;
import javax.jms.Session;
import javax.jms.TransactionRolledBackException;

public final class Load {
    private Load() {
    }

    /**
     * Sends `threads` times `each` deposits and returns their ClientIds. `template` is an event in which "@@" becomes the ClientId;
     * `transaction` deposits make a transaction, 0: none.
     */
    public static List<String> send(Connection connection, String queue, String template, String prefix, int threads, int each,
                                    int transaction, boolean persistent) throws Exception {
        ExecutorService pool = Executors.newFixedThreadPool(threads);
        List<Future<List<String>>> lanes = new ArrayList<>();
        List<String> sent = new ArrayList<>();

        try {
            for (int i = 0; i < threads; i++) {
                String lane = prefix + "-" + i;
                lanes.add(pool.submit(() -> lane(connection, queue, template, lane, each, transaction, persistent)));
            }
            for (Future<List<String>> one : lanes)
                sent.addAll(one.get());
        } finally {
            pool.shutdownNow();
        }
        return sent;
    }

    private static List<String> lane(Connection connection, String queue, String template, String prefix, int each, int transaction,
                                     boolean persistent) throws Exception {
        List<String> sent = new ArrayList<>();
        Session session = connection.createSession(transaction > 0, Session.AUTO_ACKNOWLEDGE);
        MessageProducer producer = session.createProducer(session.createQueue(queue));

        producer.setDeliveryMode(persistent ? DeliveryMode.PERSISTENT : DeliveryMode.NON_PERSISTENT);
        for (int i = 0; i < each; i++) {
            String name = prefix + "-" + i;
            producer.send(Messages.deposit(session, template.replace("@@", name), name));
            sent.add(name);
            if (transaction > 0 && ((i + 1) % transaction == 0 || i + 1 == each))
                commit(session, producer, template, sent.subList(i - i % transaction, i + 1));
        }
        session.close();
        return sent;
    }

    /* Commits; when the outcome is in doubt after a reconnection, sends the same deposits again, as an application would. */
    private static void commit(Session session, MessageProducer producer, String template, List<String> batch) throws JMSException {
        for (int attempts = 20;; attempts--) {
            try {
                session.commit();
                return;
            } catch (TransactionRolledBackException e) {
                if (attempts == 0)
                    throw e;
                for (String name : batch)
                    producer.send(Messages.deposit(session, template.replace("@@", name), name));
            }
        }
    }
}
