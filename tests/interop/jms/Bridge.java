/*
 * Lets the Python tests call the objects of this JVM, so that a scenario that uses the real JMS client is written in Python.
 * One line of standard input is one call, one line of standard output its result; bridge.py has the other end.
 * Every call runs in a thread of its own: a send that waits for a reconnection hinders nobody. Input is trusted: it is the tests'.
 */
import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;

public final class Bridge {
    private static final Objects objects = new Objects();
    private static final Map<String, Thread> running = new ConcurrentHashMap<>();
    private static PrintStream out;

    private Bridge() {
    }

    public static void main(String[] words) throws Exception {
        out = new PrintStream(System.out, false, StandardCharsets.UTF_8);
        System.setOut(System.err); // nothing else may write among the answers
        BufferedReader in = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        ExecutorService threads = Executors.newCachedThreadPool(task -> {
            Thread thread = new Thread(task, "call");
            thread.setDaemon(true);
            return thread;
        });
        for (String line = in.readLine(); line != null; line = in.readLine()) {
            String call = line;
            threads.execute(() -> answer(call));
        }
        Runtime.getRuntime().halt(0); // clients that reconnect for ever would keep the process
    }

    /* A call: its number, an object (@n) or the name of a class, a method ("new": a constructor), arguments. */
    private static void answer(String line) {
        Values.Reader call = new Values.Reader(line, objects);
        String number = call.word();
        String result;

        running.put(number, Thread.currentThread());
        try {
            String target = call.word();
            String method = call.word();
            Object[] arguments = call.rest();
            result = "=\t" + Values.write(perform(target, method, arguments), objects);
        } catch (Throwable e) { // errors too: a missing class must reach the test
            result = "!\t" + Values.write(Failures.describe(e), objects);
        } finally {
            running.remove(number);
        }
        synchronized (out) {
            out.print(number + "\t" + result + "\n");
            out.flush();
        }
    }

    private static Object perform(String target, String method, Object[] arguments) throws Throwable {
        if (target.startsWith("@"))
            return Calls.method(objects.get(target), method, arguments);
        Class<?> type = Class.forName(target);
        return method.equals("new") ? Calls.constructor(type, arguments) : Calls.staticMethod(type, method, arguments);
    }

    /** Where the threads are that were called or are the client's: said by a test that has waited too long. */
    public static String stacks() {
        StringBuilder text = new StringBuilder();
        for (Map.Entry<Thread, StackTraceElement[]> one : Thread.getAllStackTraces().entrySet()) {
            Thread thread = one.getKey();
            boolean called = running.containsValue(thread) && thread != Thread.currentThread();
            if (!called && !thread.getName().startsWith("ActiveMQ"))
                continue;
            text.append("  ").append(thread.getName()).append('\n');
            for (int i = 0; i < Math.min(12, one.getValue().length); i++)
                text.append("      ").append(one.getValue()[i]).append('\n');
        }
        return text.toString();
    }
}
