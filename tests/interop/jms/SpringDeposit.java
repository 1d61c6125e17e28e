/*
 * A deposit as an application with Spring's JmsTemplate makes it.
 */
import javax.jms.JMSException;
import javax.jms.Message;
import javax.jms.Session;
import org.springframework.jms.core.MessageCreator;

public final class SpringDeposit implements MessageCreator {
    private final String body;
    private final String clientId;

    public SpringDeposit(String body, String clientId) {
        this.body = body;
        this.clientId = clientId;
    }

    @Override
    public Message createMessage(Session session) throws JMSException {
        return Messages.deposit(session, body, clientId);
    }
}
