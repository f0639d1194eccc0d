; sha256 of runtime.c: 073c750b9a8f8d554a7ed8a52bd3b6163c8db7c21e2c712ae221f2bfc9a93d75

%struct.XLA_FFI_Error_Destroy_Args = type { i64, ptr, ptr }
%struct.XLA_FFI_ThreadPool_Schedule_Args = type { i64, ptr, ptr, ptr, ptr }
%struct.XLA_FFI_ThreadPool_NumThreads_Args = type { i64, ptr, ptr, ptr }
%struct.XLA_FFI_Error_Create_Args = type { i64, ptr, ptr, i32 }
%struct.Environment = type { [64 x i8] }

@.str = private unnamed_addr constant [62 x i8] c"adam_optax: a loop got another number of operands than it has\00", align 1
@.str.1 = private unnamed_addr constant [61 x i8] c"adam_optax: a loop got another number of results than it has\00", align 1
@ffi_major = internal constant i32 0, align 4
@ffi_minor = internal constant i32 3, align 4

define ptr @adam_optax_run(ptr noundef readonly %0, ptr noundef %1, i64 noundef %2, i64 noundef %3, i64 noundef %4, i64 noundef %5, i64 noundef %6) local_unnamed_addr {
  %8 = alloca %struct.XLA_FFI_Error_Destroy_Args, align 8
  %9 = alloca %struct.XLA_FFI_ThreadPool_Schedule_Args, align 8
  %10 = alloca %struct.XLA_FFI_Error_Destroy_Args, align 8
  %11 = alloca i64, align 8
  %12 = alloca %struct.XLA_FFI_ThreadPool_NumThreads_Args, align 8
  %13 = alloca %struct.XLA_FFI_Error_Create_Args, align 8
  %14 = alloca %struct.XLA_FFI_Error_Create_Args, align 8
  %15 = getelementptr inbounds nuw i8, ptr %0, i64 8
  %16 = load ptr, ptr %15, align 8
  %17 = icmp eq ptr %16, null
  br i1 %17, label %30, label %18

18:
  %19 = getelementptr inbounds nuw i8, ptr %16, i64 8
  %20 = load i32, ptr %19, align 8
  %21 = icmp eq i32 %20, 1
  br i1 %21, label %22, label %30

22:
  %23 = getelementptr inbounds nuw i8, ptr %16, i64 24
  %24 = load ptr, ptr %23, align 8
  %25 = load volatile i32, ptr @ffi_major, align 4
  %26 = getelementptr inbounds nuw i8, ptr %24, i64 24
  store i32 %25, ptr %26, align 8
  %27 = load volatile i32, ptr @ffi_minor, align 4
  %28 = getelementptr inbounds nuw i8, ptr %24, i64 28
  store i32 %27, ptr %28, align 4
  %29 = getelementptr inbounds nuw i8, ptr %24, i64 32
  store i32 0, ptr %29, align 8
  br label %258

30:
  %31 = getelementptr inbounds nuw i8, ptr %0, i64 32
  %32 = load i32, ptr %31, align 8
  %33 = icmp eq i32 %32, 3
  br i1 %33, label %34, label %258

34:
  %35 = getelementptr inbounds nuw i8, ptr %0, i64 56
  %36 = load i64, ptr %35, align 8
  %37 = add nsw i64 %3, %2
  %38 = icmp eq i64 %36, %37
  br i1 %38, label %49, label %39

39:
  %40 = getelementptr inbounds nuw i8, ptr %0, i64 16
  %41 = load ptr, ptr %40, align 8
  store i64 28, ptr %14, align 8
  %42 = getelementptr inbounds nuw i8, ptr %14, i64 8
  store ptr null, ptr %42, align 8
  %43 = getelementptr inbounds nuw i8, ptr %14, i64 16
  store ptr @.str, ptr %43, align 8
  %44 = getelementptr inbounds nuw i8, ptr %14, i64 24
  store i32 3, ptr %44, align 8
  %45 = getelementptr inbounds nuw i8, ptr %14, i64 28
  store i32 0, ptr %45, align 4
  %46 = getelementptr inbounds nuw i8, ptr %41, i64 48
  %47 = load ptr, ptr %46, align 8
  %48 = call ptr %47(ptr noundef nonnull %14)
  br label %258

49:
  %50 = getelementptr inbounds nuw i8, ptr %0, i64 96
  %51 = load i64, ptr %50, align 8
  %52 = icmp eq i64 %51, %4
  br i1 %52, label %63, label %53

53:
  %54 = getelementptr inbounds nuw i8, ptr %0, i64 16
  %55 = load ptr, ptr %54, align 8
  store i64 28, ptr %13, align 8
  %56 = getelementptr inbounds nuw i8, ptr %13, i64 8
  store ptr null, ptr %56, align 8
  %57 = getelementptr inbounds nuw i8, ptr %13, i64 16
  store ptr @.str.1, ptr %57, align 8
  %58 = getelementptr inbounds nuw i8, ptr %13, i64 24
  store i32 3, ptr %58, align 8
  %59 = getelementptr inbounds nuw i8, ptr %13, i64 28
  store i32 0, ptr %59, align 4
  %60 = getelementptr inbounds nuw i8, ptr %55, i64 48
  %61 = load ptr, ptr %60, align 8
  %62 = call ptr %61(ptr noundef nonnull %13)
  br label %258

63:
  %64 = getelementptr inbounds nuw i8, ptr %0, i64 72
  %65 = load ptr, ptr %64, align 8
  %66 = getelementptr inbounds ptr, ptr %65, i64 %2
  %67 = load ptr, ptr %66, align 8
  %68 = getelementptr inbounds nuw i8, ptr %67, i64 32
  %69 = load i64, ptr %68, align 8
  %70 = icmp sgt i64 %69, 0
  br i1 %70, label %71, label %93

71:
  %72 = getelementptr inbounds nuw i8, ptr %67, i64 40
  %73 = load ptr, ptr %72, align 8
  br label %76

74:
  %75 = icmp eq i64 %81, 0
  br i1 %75, label %258, label %84

76:
  %77 = phi i64 [ 1, %71 ], [ %81, %76 ]
  %78 = phi i64 [ 0, %71 ], [ %82, %76 ]
  %79 = getelementptr inbounds nuw i64, ptr %73, i64 %78
  %80 = load i64, ptr %79, align 8
  %81 = mul nsw i64 %80, %77
  %82 = add nuw nsw i64 %78, 1
  %83 = icmp eq i64 %82, %69
  br i1 %83, label %74, label %76

84:
  %85 = icmp eq i64 %6, 0
  %86 = select i1 %85, i64 %81, i64 1
  br i1 %85, label %93, label %87

87:
  %88 = getelementptr inbounds nuw i8, ptr %67, i64 40
  %89 = load ptr, ptr %88, align 8
  %90 = getelementptr i64, ptr %89, i64 %69
  %91 = getelementptr i8, ptr %90, i64 -8
  %92 = load i64, ptr %91, align 8
  br label %93

93:
  %94 = phi i64 [ %81, %87 ], [ %81, %84 ], [ 1, %63 ]
  %95 = phi i64 [ %92, %87 ], [ %86, %84 ], [ 1, %63 ]
  %96 = sdiv i64 %94, %95
  %97 = add nsw i64 %95, -1
  %98 = sdiv i64 %97, %5
  %99 = add nsw i64 %98, 1
  %100 = mul nsw i64 %99, %96
  %101 = add nsw i64 %36, %4
  %102 = tail call ptr @llvm.stacksave.p0()
  %103 = alloca ptr, i64 %101
  %104 = icmp sgt i64 %36, 0
  br i1 %104, label %105, label %107

105:
  %106 = load ptr, ptr %64, align 8
  br label %113

107:
  %108 = icmp sgt i64 %4, 0
  br i1 %108, label %109, label %122

109:
  %110 = getelementptr inbounds nuw i8, ptr %0, i64 112
  %111 = load ptr, ptr %110, align 8
  %112 = getelementptr ptr, ptr %103, i64 %36
  br label %130

113:
  %114 = phi i64 [ 0, %105 ], [ %120, %113 ]
  %115 = getelementptr inbounds nuw ptr, ptr %106, i64 %114
  %116 = load ptr, ptr %115, align 8
  %117 = getelementptr inbounds nuw i8, ptr %116, i64 24
  %118 = load ptr, ptr %117, align 8
  %119 = getelementptr inbounds nuw ptr, ptr %103, i64 %114
  store ptr %118, ptr %119, align 8
  %120 = add nuw nsw i64 %114, 1
  %121 = icmp eq i64 %120, %36
  br i1 %121, label %107, label %113

122:
  %123 = tail call i64 @llvm.smin.i64(i64 %95, i64 %5)
  %124 = sdiv i64 32768, %123
  %125 = tail call i64 @llvm.smax.i64(i64 %124, i64 1)
  %126 = add nsw i64 %100, -1
  %127 = sdiv i64 %126, %125
  %128 = add nsw i64 %127, 1
  %129 = icmp sgt i64 %127, 0
  br i1 %129, label %139, label %161

130:
  %131 = phi i64 [ 0, %109 ], [ %137, %130 ]
  %132 = getelementptr inbounds nuw ptr, ptr %111, i64 %131
  %133 = load ptr, ptr %132, align 8
  %134 = getelementptr inbounds nuw i8, ptr %133, i64 24
  %135 = load ptr, ptr %134, align 8
  %136 = getelementptr ptr, ptr %112, i64 %131
  store ptr %135, ptr %136, align 8
  %137 = add nuw nsw i64 %131, 1
  %138 = icmp eq i64 %137, %4
  br i1 %138, label %122, label %130

139:
  store i64 1, ptr %11, align 8
  store i64 32, ptr %12, align 8
  %140 = getelementptr inbounds nuw i8, ptr %12, i64 8
  store ptr null, ptr %140, align 8
  %141 = getelementptr inbounds nuw i8, ptr %12, i64 16
  %142 = getelementptr inbounds nuw i8, ptr %0, i64 24
  %143 = load ptr, ptr %142, align 8
  store ptr %143, ptr %141, align 8
  %144 = getelementptr inbounds nuw i8, ptr %12, i64 24
  store ptr %11, ptr %144, align 8
  %145 = getelementptr inbounds nuw i8, ptr %0, i64 16
  %146 = load ptr, ptr %145, align 8
  %147 = getelementptr inbounds nuw i8, ptr %146, i64 144
  %148 = load ptr, ptr %147, align 8
  %149 = call ptr %148(ptr noundef nonnull %12)
  %150 = icmp eq ptr %149, null
  br i1 %150, label %156, label %151

151:
  store i64 24, ptr %10, align 8
  %152 = getelementptr inbounds nuw i8, ptr %10, i64 8
  store ptr null, ptr %152, align 8
  %153 = getelementptr inbounds nuw i8, ptr %10, i64 16
  store ptr %149, ptr %153, align 8
  %154 = getelementptr inbounds nuw i8, ptr %146, i64 64
  %155 = load ptr, ptr %154, align 8
  call void %155(ptr noundef nonnull %10)
  br label %159

156:
  %157 = load i64, ptr %11, align 8
  %158 = add nsw i64 %157, -1
  br label %159

159:
  %160 = phi i64 [ %158, %156 ], [ 0, %151 ]
  br label %161

161:
  %162 = phi i64 [ %160, %159 ], [ 0, %122 ]
  %163 = call i64 @llvm.smin.i64(i64 %162, i64 %127)
  %164 = icmp sgt i64 %163, 0
  br i1 %164, label %165, label %254

165:
  %166 = call ptr @malloc(i64 noundef 160)
  %167 = icmp eq ptr %166, null
  br i1 %167, label %254, label %168

168:
  store ptr %1, ptr %166, align 16
  %169 = getelementptr inbounds nuw i8, ptr %166, i64 8
  store ptr %103, ptr %169, align 8
  %170 = getelementptr inbounds nuw i8, ptr %166, i64 16
  store i64 %2, ptr %170, align 16
  %171 = getelementptr inbounds nuw i8, ptr %166, i64 24
  store i64 %3, ptr %171, align 8
  %172 = getelementptr inbounds nuw i8, ptr %166, i64 32
  store i64 %95, ptr %172, align 16
  %173 = getelementptr inbounds nuw i8, ptr %166, i64 40
  store i64 %100, ptr %173, align 8
  %174 = getelementptr inbounds nuw i8, ptr %166, i64 48
  store i64 %125, ptr %174, align 16
  %175 = getelementptr inbounds nuw i8, ptr %166, i64 56
  store i64 %128, ptr %175, align 8
  %176 = getelementptr inbounds nuw i8, ptr %166, i64 128
  store i64 0, ptr %176, align 8
  %177 = getelementptr inbounds nuw i8, ptr %166, i64 136
  store i64 0, ptr %177, align 8
  %178 = getelementptr inbounds nuw i8, ptr %166, i64 144
  store i64 1, ptr %178, align 8
  %179 = getelementptr inbounds nuw i8, ptr %166, i64 64
  %180 = call i32 @fegetenv(ptr noundef nonnull %179)
  %181 = getelementptr inbounds nuw i8, ptr %9, i64 8
  %182 = getelementptr inbounds nuw i8, ptr %9, i64 16
  %183 = getelementptr inbounds nuw i8, ptr %0, i64 24
  %184 = getelementptr inbounds nuw i8, ptr %9, i64 24
  %185 = getelementptr inbounds nuw i8, ptr %9, i64 32
  %186 = getelementptr inbounds nuw i8, ptr %0, i64 16
  br label %187

187:
  %188 = phi i64 [ 0, %168 ], [ %206, %205 ]
  store i64 40, ptr %9, align 8
  store ptr null, ptr %181, align 8
  %189 = load ptr, ptr %183, align 8
  store ptr %189, ptr %182, align 8
  store ptr @help, ptr %184, align 8
  store ptr %166, ptr %185, align 8
  %190 = atomicrmw add ptr %178, i64 1 monotonic, align 16
  %191 = load ptr, ptr %186, align 8
  %192 = getelementptr inbounds nuw i8, ptr %191, i64 136
  %193 = load ptr, ptr %192, align 8
  %194 = call ptr %193(ptr noundef nonnull %9)
  %195 = icmp eq ptr %194, null
  br i1 %195, label %205, label %196

196:
  store i64 24, ptr %8, align 8
  %197 = getelementptr inbounds nuw i8, ptr %8, i64 8
  store ptr null, ptr %197, align 8
  %198 = getelementptr inbounds nuw i8, ptr %8, i64 16
  store ptr %194, ptr %198, align 8
  %199 = getelementptr inbounds nuw i8, ptr %191, i64 64
  %200 = load ptr, ptr %199, align 8
  call void %200(ptr noundef nonnull %8)
  %201 = atomicrmw sub ptr %178, i64 1 acq_rel, align 16
  %202 = icmp eq i64 %201, 1
  br i1 %202, label %203, label %204

203:
  call void @free(ptr noundef nonnull %166)
  br label %204

204:
  br label %208

205:
  %206 = add nuw nsw i64 %188, 1
  %207 = icmp eq i64 %206, %163
  br i1 %207, label %208, label %187

208:
  %209 = atomicrmw add ptr %176, i64 1 monotonic, align 16
  %210 = load i64, ptr %175, align 8
  %211 = icmp slt i64 %209, %210
  br i1 %211, label %212, label %232

212:
  %213 = phi i64 [ %229, %212 ], [ %209, %208 ]
  %214 = load i64, ptr %174, align 16
  %215 = mul nsw i64 %214, %213
  %216 = load i64, ptr %173, align 8
  %217 = sub nsw i64 %216, %215
  %218 = icmp slt i64 %217, %214
  %219 = add nsw i64 %215, %214
  %220 = select i1 %218, i64 %216, i64 %219
  %221 = load ptr, ptr %169, align 8
  %222 = load i64, ptr %170, align 16
  %223 = getelementptr inbounds ptr, ptr %221, i64 %222
  %224 = load ptr, ptr %166, align 16
  %225 = load i64, ptr %171, align 8
  %226 = getelementptr inbounds ptr, ptr %223, i64 %225
  %227 = load i64, ptr %172, align 16
  call void %224(ptr noundef %221, ptr noundef %223, ptr noundef %226, i64 noundef %215, i64 noundef %220, i64 noundef %227)
  %228 = atomicrmw add ptr %177, i64 1 release, align 8
  %229 = atomicrmw add ptr %176, i64 1 monotonic, align 16
  %230 = load i64, ptr %175, align 8
  %231 = icmp slt i64 %229, %230
  br i1 %231, label %212, label %232

232:
  %233 = load atomic i64, ptr %177 acquire, align 8
  %234 = load i64, ptr %175, align 8
  %235 = icmp slt i64 %233, %234
  br i1 %235, label %240, label %236

236:
  %237 = atomicrmw sub ptr %178, i64 1 acq_rel, align 16
  %238 = icmp eq i64 %237, 1
  br i1 %238, label %239, label %257

239:
  call void @free(ptr noundef nonnull %166)
  br label %257

240:
  %241 = phi i32 [ %250, %249 ], [ 0, %232 ]
  %242 = icmp samesign ugt i32 %241, 1152
  br i1 %242, label %243, label %245

243:
  %244 = call i32 @usleep(i32 noundef 20)
  br label %249

245:
  %246 = icmp samesign ugt i32 %241, 1024
  br i1 %246, label %247, label %249

247:
  %248 = call i32 @sched_yield()
  br label %249

249:
  %250 = add nuw nsw i32 %241, 1
  %251 = load atomic i64, ptr %177 acquire, align 8
  %252 = load i64, ptr %175, align 8
  %253 = icmp slt i64 %251, %252
  br i1 %253, label %240, label %236

254:
  %255 = getelementptr inbounds ptr, ptr %103, i64 %2
  %256 = getelementptr inbounds ptr, ptr %255, i64 %3
  call void %1(ptr noundef nonnull %103, ptr noundef nonnull %255, ptr noundef nonnull %256, i64 noundef 0, i64 noundef %100, i64 noundef %95)
  br label %257

257:
  call void @llvm.stackrestore.p0(ptr %102)
  br label %258

258:
  %259 = phi ptr [ null, %22 ], [ %48, %39 ], [ %62, %53 ], [ null, %30 ], [ null, %74 ], [ null, %257 ]
  ret ptr %259
}

declare ptr @llvm.stacksave.p0()

declare ptr @malloc(i64 noundef) local_unnamed_addr

declare void @llvm.stackrestore.p0(ptr)

declare i32 @fegetenv(ptr noundef) local_unnamed_addr

define internal void @help(ptr noundef %0) {
  %2 = alloca %struct.Environment, align 16
  %3 = call i32 @fegetenv(ptr noundef nonnull %2)
  %4 = getelementptr inbounds nuw i8, ptr %0, i64 64
  %5 = call i32 @fesetenv(ptr noundef nonnull %4)
  %6 = getelementptr inbounds nuw i8, ptr %0, i64 128
  %7 = getelementptr inbounds nuw i8, ptr %0, i64 56
  %8 = atomicrmw add ptr %6, i64 1 monotonic, align 16
  %9 = load i64, ptr %7, align 8
  %10 = icmp slt i64 %8, %9
  br i1 %10, label %11, label %39

11:
  %12 = getelementptr inbounds nuw i8, ptr %0, i64 48
  %13 = getelementptr inbounds nuw i8, ptr %0, i64 40
  %14 = getelementptr inbounds nuw i8, ptr %0, i64 8
  %15 = getelementptr inbounds nuw i8, ptr %0, i64 16
  %16 = getelementptr inbounds nuw i8, ptr %0, i64 24
  %17 = getelementptr inbounds nuw i8, ptr %0, i64 32
  %18 = getelementptr inbounds nuw i8, ptr %0, i64 136
  br label %19

19:
  %20 = phi i64 [ %8, %11 ], [ %36, %19 ]
  %21 = load i64, ptr %12, align 16
  %22 = mul nsw i64 %21, %20
  %23 = load i64, ptr %13, align 8
  %24 = sub nsw i64 %23, %22
  %25 = icmp slt i64 %24, %21
  %26 = add nsw i64 %22, %21
  %27 = select i1 %25, i64 %23, i64 %26
  %28 = load ptr, ptr %14, align 8
  %29 = load i64, ptr %15, align 16
  %30 = getelementptr inbounds ptr, ptr %28, i64 %29
  %31 = load ptr, ptr %0, align 16
  %32 = load i64, ptr %16, align 8
  %33 = getelementptr inbounds ptr, ptr %30, i64 %32
  %34 = load i64, ptr %17, align 16
  call void %31(ptr noundef %28, ptr noundef %30, ptr noundef %33, i64 noundef %22, i64 noundef %27, i64 noundef %34)
  %35 = atomicrmw add ptr %18, i64 1 release, align 8
  %36 = atomicrmw add ptr %6, i64 1 monotonic, align 16
  %37 = load i64, ptr %7, align 8
  %38 = icmp slt i64 %36, %37
  br i1 %38, label %19, label %39

39:
  %40 = call i32 @fesetenv(ptr noundef nonnull %2)
  %41 = getelementptr inbounds nuw i8, ptr %0, i64 144
  %42 = atomicrmw sub ptr %41, i64 1 acq_rel, align 16
  %43 = icmp eq i64 %42, 1
  br i1 %43, label %44, label %45

44:
  call void @free(ptr noundef nonnull %0)
  br label %45

45:
  ret void
}

declare i32 @usleep(i32 noundef) local_unnamed_addr

declare i32 @sched_yield() local_unnamed_addr

declare i32 @fesetenv(ptr noundef) local_unnamed_addr

declare void @free(ptr noundef) local_unnamed_addr

declare i64 @llvm.smin.i64(i64, i64)

declare i64 @llvm.smax.i64(i64, i64)
