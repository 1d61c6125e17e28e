/*
 * Finds the public method or constructor that takes given arguments, and calls it. Among several that do, the most particular one.
 */
import java.lang.reflect.Constructor;
import java.lang.reflect.Executable;
import java.lang.reflect.InvocationTargetException;
import java.lang.reflect.Method;
import java.lang.reflect.Modifier;
import java.util.Arrays;
import java.util.List;

final class Calls {
    private static final int NO = -1;

    private Calls() {
    }

    static Object method(Object target, String name, Object[] arguments) throws Throwable {
        if (target == null)
            throw new NullPointerException("null." + name + "()");
        return invoke(named(target.getClass(), name, false), target, name, arguments);
    }

    static Object staticMethod(Class<?> type, String name, Object[] arguments) throws Throwable {
        return invoke(named(type, name, true), null, type.getName() + "." + name, arguments);
    }

    static Object constructor(Class<?> type, Object[] arguments) throws Throwable {
        Constructor<?> best = best(List.of(type.getConstructors()), "new " + type.getName(), arguments);
        try {
            return best.newInstance(fit(best, arguments));
        } catch (InvocationTargetException e) {
            throw e.getCause();
        }
    }

    private static List<Method> named(Class<?> type, String name, boolean isStatic) {
        return Arrays.stream(type.getMethods())
            .filter(m -> m.getName().equals(name) && Modifier.isStatic(m.getModifiers()) == isStatic).toList();
    }

    private static Object invoke(List<Method> methods, Object target, String name, Object[] arguments) throws Throwable {
        Method best = best(methods, name, arguments);
        best.trySetAccessible(); // a public method of a class that is not
        try {
            return best.invoke(target, fit(best, arguments));
        } catch (InvocationTargetException e) {
            throw e.getCause();
        }
    }

    private static <T extends Executable> T best(List<T> candidates, String name, Object[] arguments) {
        T best = null;
        int most = NO;

        for (T one : candidates) {
            int points = points(one, arguments);
            if (points > most) {
                best = one;
                most = points;
            }
        }
        if (best == null)
            throw new IllegalArgumentException("no " + name + " takes " + Arrays.toString(arguments));
        return best;
    }

    private static int points(Executable candidate, Object[] arguments) {
        Class<?>[] types = candidate.getParameterTypes();
        int sum = 0;

        if (types.length != arguments.length)
            return NO;
        for (int i = 0; i < types.length; i++) {
            int one = points(types[i], arguments[i]);
            if (one == NO)
                return NO;
            sum += one;
        }
        return sum;
    }

    private static int points(Class<?> type, Object value) {
        if (value == null)
            return type.isPrimitive() ? NO : 1;
        Object converted = convert(type, value);
        if (converted == null)
            return NO;
        if (type == Object.class)
            return 0;
        return type == converted.getClass() || type.isPrimitive() ? 3 : 2;
    }

    private static Object[] fit(Executable chosen, Object[] arguments) {
        Class<?>[] types = chosen.getParameterTypes();
        Object[] fitting = new Object[arguments.length];

        for (int i = 0; i < types.length; i++)
            fitting[i] = arguments[i] == null ? null : convert(types[i], arguments[i]);
        return fitting;
    }

    /* The value as this type takes it; null: it does not. */
    private static Object convert(Class<?> type, Object value) {
        if (value instanceof Values.Whole number && type != Object.class)
            return whole(type, number.value());
        Object plain = Values.plain(value);
        if (type == boolean.class)
            return plain instanceof Boolean ? plain : null;
        if (type.isPrimitive())
            return plain instanceof Number number && type != float.class && type != double.class ? whole(type, number.longValue()) : real(type, plain);
        return type.isInstance(plain) ? plain : null;
    }

    private static Object real(Class<?> type, Object value) {
        if (!(value instanceof Number number))
            return null;
        return type == float.class ? (Object) number.floatValue() : type == double.class ? (Object) number.doubleValue() : null;
    }

    private static Object whole(Class<?> type, long value) {
        if (type == long.class || type == Long.class)
            return value;
        if ((type == int.class || type == Integer.class) && value == (int) value)
            return (int) value;
        if ((type == short.class || type == Short.class) && value == (short) value)
            return (short) value;
        if ((type == byte.class || type == Byte.class) && value == (byte) value)
            return (byte) value;
        return null;
    }
}
