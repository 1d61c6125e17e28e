/*
 * The objects that Python holds: handles of the form @n. They live until the process ends, which is the end of one test file.
 */
import java.util.IdentityHashMap;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;

final class Objects {
    private final List<Object> kept = new ArrayList<>();
    private final Map<Object, Integer> known = new IdentityHashMap<>();

    synchronized Object get(String handle) {
        return kept.get(Integer.parseInt(handle.substring(1)));
    }

    synchronized String handle(Object object) {
        Integer number = known.get(object);
        if (number == null) {
            number = kept.size();
            kept.add(object);
            known.put(object, number);
        }
        return "@" + number;
    }
}
