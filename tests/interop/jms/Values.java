/*
 * Values as words of a line, separated by tabs: the first letter is the type. n null; t, f; i byte to long ("i5"), or with the exact
 * type from Python (I, L, S, B); F, D; s text, with tab, line feed, carriage return and backslash escaped; x bytes in hexadecimal;
 * l a list, then its values; m a map, then keys and values; @n an object.
 */
import java.util.ArrayList;
import java.util.Collection;
import java.util.HexFormat;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

final class Values {
    private Values() {
    }

    /* A number whose Java type the method decides. */
    record Whole(long value) {
    }

    static final class Reader {
        private final String[] words;
        private final Objects objects;
        private int at;

        Reader(String line, Objects objects) {
            this.words = line.split("\t", -1);
            this.objects = objects;
        }

        String word() {
            return words[at++];
        }

        Object[] rest() {
            List<Object> values = new ArrayList<>();
            while (at < words.length)
                values.add(value());
            return values.toArray();
        }

        private Object value() {
            String word = word();
            String text = word.substring(1);

            return switch (word.charAt(0)) {
            case 'n' -> null;
            case 't' -> true;
            case 'f' -> false;
            case 'i' -> new Whole(Long.parseLong(text));
            case 'I' -> Integer.parseInt(text);
            case 'L' -> Long.parseLong(text);
            case 'S' -> Short.parseShort(text);
            case 'B' -> Byte.parseByte(text);
            case 'F' -> Float.parseFloat(text);
            case 'D' -> Double.parseDouble(text);
            case 's' -> unescape(text);
            case 'x' -> HexFormat.of().parseHex(text);
            case 'l' -> list(Integer.parseInt(text));
            case 'm' -> map(Integer.parseInt(text));
            case '@' -> objects.get(word);
            default -> throw new IllegalArgumentException("not a value: " + word);
            };
        }

        private List<Object> list(int count) {
            List<Object> values = new ArrayList<>();
            for (int i = 0; i < count; i++)
                values.add(plain(value()));
            return values;
        }

        private Map<String, Object> map(int count) {
            Map<String, Object> values = new LinkedHashMap<>();
            for (int i = 0; i < count; i++) {
                String key = (String) value();
                values.put(key, plain(value()));
            }
            return values;
        }
    }

    /* What a number without a type is where any object will do: an int when it fits. */
    static Object plain(Object value) {
        if (!(value instanceof Whole number))
            return value;
        if (number.value() == (int) number.value())
            return (int) number.value();
        return number.value();
    }

    static String write(Object value, Objects objects) {
        StringBuilder line = new StringBuilder();
        add(line, value, objects);
        return line.substring(1);
    }

    private static void add(StringBuilder line, Object value, Objects objects) {
        line.append('\t');
        if (value == null)
            line.append('n');
        else if (value instanceof Boolean truth)
            line.append(truth ? 't' : 'f');
        else if (value instanceof Byte || value instanceof Short || value instanceof Integer || value instanceof Long)
            line.append('i').append(value);
        else if (value instanceof Float || value instanceof Double)
            line.append('D').append(value);
        else if (value instanceof String || value instanceof Character || value instanceof Enum)
            line.append('s').append(escape(value.toString()));
        else if (value instanceof byte[] bytes)
            line.append('x').append(HexFormat.of().formatHex(bytes));
        else if (value instanceof Collection<?> many)
            addAll(line, many, objects);
        else if (value instanceof Object[] many)
            addAll(line, List.of(many), objects);
        else if (value instanceof Map<?, ?> map)
            addMap(line, map, objects);
        else
            line.append(objects.handle(value));
    }

    private static void addAll(StringBuilder line, Collection<?> many, Objects objects) {
        line.append('l').append(many.size());
        for (Object one : many)
            add(line, one, objects);
    }

    private static void addMap(StringBuilder line, Map<?, ?> map, Objects objects) {
        line.append('m').append(map.size());
        for (Map.Entry<?, ?> one : map.entrySet()) {
            add(line, one.getKey(), objects);
            add(line, one.getValue(), objects);
        }
    }

    private static String escape(String text) {
        return text.replace("\\", "\\\\").replace("\t", "\\t").replace("\n", "\\n").replace("\r", "\\r");
    }

    private static String unescape(String text) {
        if (text.indexOf('\\') < 0)
            return text;
        StringBuilder plain = new StringBuilder();
        for (int i = 0; i < text.length(); i++) {
            char c = text.charAt(i);
            if (c == '\\')
                c = switch (text.charAt(++i)) {
                case 't' -> '\t';
                case 'n' -> '\n';
                case 'r' -> '\r';
                default -> '\\';
                };
            plain.append(c);
        }
        return plain.toString();
    }
}
