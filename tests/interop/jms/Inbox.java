/*
 * Keeps what the client calls back with: messages of one or more consumers in their order, exceptions, and changes of the transport.
 */
import java.io.IOException;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
import javax.jms.ExceptionListener;
import javax.jms.JMSException;
import javax.jms.Message;
import javax.jms.MessageListener;
import org.apache.activemq.transport.TransportListener;

public final class Inbox implements MessageListener, ExceptionListener, TransportListener {
    private final BlockingQueue<Message> messages = new LinkedBlockingQueue<>();
    private final BlockingQueue<String> exceptions = new LinkedBlockingQueue<>();
    private final AtomicInteger interruptions = new AtomicInteger();
    private volatile boolean up = true;
    private final AtomicInteger failuresToCome = new AtomicInteger();

    @Override
    public void onMessage(Message message) {
        messages.add(message);
        if (failuresToCome.getAndUpdate(n -> Math.max(0, n - 1)) > 0)
            throw new IllegalStateException("the listener fails, as the test wants");
    }

    /** The next `count` messages make the listener throw. */
    public void fail(int count) {
        failuresToCome.set(count);
    }

    @Override
    public void onException(JMSException e) {
        exceptions.add(Failures.describe(e).get("chain").toString());
    }

    /** The next message within `ms`, or null. */
    public Message take(long ms) throws InterruptedException {
        return messages.poll(ms, TimeUnit.MILLISECONDS);
    }

    /** The next exception within `ms`, or null. */
    public String exception(long ms) throws InterruptedException {
        return exceptions.poll(ms, TimeUnit.MILLISECONDS);
    }

    public List<Message> all() {
        List<Message> got = new ArrayList<>();
        messages.drainTo(got);
        return got;
    }

    public int interruptions() {
        return interruptions.get();
    }

    /** Interrupted so many times at least, and connected again after the last. */
    public boolean reconnected(int times) {
        return interruptions.get() >= times && up;
    }

    @Override
    public void onCommand(Object command) {
    }

    @Override
    public void onException(IOException e) {
        exceptions.add("transport: " + e);
    }

    @Override
    public void transportInterupted() {
        up = false;
        interruptions.incrementAndGet();
    }

    @Override
    public void transportResumed() {
        up = true;
    }
}
