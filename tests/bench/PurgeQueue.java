import org.apache.activemq.ActiveMQConnection;
import org.apache.activemq.ActiveMQSslConnectionFactory;
import org.apache.activemq.command.ActiveMQQueue;

/** Removes a queue and all its messages from ActiveMQ, as its administrator may: PurgeQueue URL PKI-FOLDER PASSWORD QUEUE. */
public final class PurgeQueue {
    public static void main(String[] words) throws Exception {
        ActiveMQSslConnectionFactory factory = new ActiveMQSslConnectionFactory(words[0]);
        factory.setKeyStore(words[1] + "/sensor-1.p12");
        factory.setKeyStorePassword(words[2]);
        factory.setTrustStore(words[1] + "/trust.p12");
        factory.setTrustStorePassword(words[2]);
        ActiveMQConnection connection = (ActiveMQConnection) factory.createConnection();
        try {
            connection.start();
            connection.destroyDestination(new ActiveMQQueue(words[3]));
        } finally {
            connection.close();
        }
    }
}
