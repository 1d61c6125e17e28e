/*
 * Counts what becomes of sends that nobody waits for.
 */
import java.util.concurrent.atomic.AtomicInteger;
import javax.jms.JMSException;
import org.apache.activemq.AsyncCallback;

public final class Completions implements AsyncCallback {
    private final AtomicInteger successes = new AtomicInteger();
    private final AtomicInteger failures = new AtomicInteger();
    private volatile String last;

    @Override
    public void onSuccess() {
        successes.incrementAndGet();
    }

    @Override
    public void onException(JMSException e) {
        last = e.toString();
        failures.incrementAndGet();
    }

    public int successes() {
        return successes.get();
    }

    public int failures() {
        return failures.get();
    }

    public String last() {
        return last;
    }
}
