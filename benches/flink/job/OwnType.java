import org.apache.flink.api.common.typeinfo.TypeInformation;

/** A type with a serializer of its own, so that Flink does not use Kryo: to Flink one field that it cannot look into. */
abstract class OwnType<T> extends TypeInformation<T> {
    private final Class<T> type;
    private final boolean isKey;

    OwnType(Class<T> type, boolean isKey) {
        this.type = type;
        this.isKey = isKey;
    }

    @Override
    public boolean isBasicType() {
        return false;
    }

    @Override
    public boolean isTupleType() {
        return false;
    }

    @Override
    public int getArity() {
        return 1;
    }

    @Override
    public int getTotalFields() {
        return 1;
    }

    @Override
    public Class<T> getTypeClass() {
        return type;
    }

    @Override
    public boolean isKeyType() {
        return isKey;
    }

    @Override
    public String toString() {
        return type.getSimpleName();
    }

    @Override
    public boolean equals(Object other) {
        return other != null && getClass() == other.getClass();
    }

    @Override
    public int hashCode() {
        return type.hashCode();
    }

    @Override
    public boolean canEqual(Object other) {
        return getClass().isInstance(other);
    }
}
