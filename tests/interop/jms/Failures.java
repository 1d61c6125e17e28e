/*
 * An exception, for Python: what it is, everything it is a kind of, and what led to it.
 */
import java.util.ArrayList;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import javax.jms.JMSException;

final class Failures {
    private Failures() {
    }

    static Map<String, Object> describe(Throwable failure) {
        Map<String, Object> said = new LinkedHashMap<>();
        List<String> kinds = new ArrayList<>();

        for (Class<?> type = failure.getClass(); type != Object.class; type = type.getSuperclass())
            kinds.add(type.getSimpleName());
        said.put("kind", failure.getClass().getName());
        said.put("message", failure.getMessage());
        said.put("kinds", kinds);
        said.put("chain", chain(failure));
        said.put("where", where(failure));
        return said;
    }

    private static List<String> chain(Throwable failure) {
        List<String> causes = new ArrayList<>();
        Set<Throwable> seen = new HashSet<>();

        for (Throwable one = failure; one != null && seen.add(one);) {
            causes.add(one.toString());
            Throwable cause = one.getCause();
            if (cause == null && one instanceof JMSException jms)
                cause = jms.getLinkedException();
            one = cause;
        }
        return causes;
    }

    private static List<String> where(Throwable failure) {
        List<String> steps = new ArrayList<>();
        for (StackTraceElement step : failure.getStackTrace()) {
            if (steps.size() == 6 || step.getClassName().startsWith("jdk.internal.reflect"))
                break;
            steps.add(step.toString());
        }
        return steps;
    }
}
